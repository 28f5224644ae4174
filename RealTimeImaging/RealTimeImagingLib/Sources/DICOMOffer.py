"""What is offered to senders: all kinds of storage, in the transfer syntaxes that can be decoded here."""

from __future__ import annotations

import importlib.util
from typing import Any

_UNCOMPRESSED = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
_JPEG = ("1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
_JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
_JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
_OTHERS = (*("1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203"),)
"""RLE, HTJ2K (PS3.6 annex A)."""
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_VERIFICATION = "1.2.840.10008.1.1"


def contextsOffered() -> list[Any]:
    """Contexts of pynetdicom; of the transfer syntaxes that a sender proposes for one kind, the first here is taken."""
    from pynetdicom import AllStoragePresentationContexts, build_context

    compressed = [one for one in (*_JPEG, *_JPEG_LS, *_JPEG_2000, *_OTHERS) if _isDecodable(one)]
    syntaxes = [*_UNCOMPRESSED, *compressed, _BIG_ENDIAN]
    kinds = [str(context.abstract_syntax) for context in AllStoragePresentationContexts]
    return [build_context(_VERIFICATION), *(build_context(kind, syntaxes) for kind in kinds)]


def _isDecodable(syntax: str) -> bool:
    # As Readers.DICOMDecoding does it; SimpleITK has a decoder in it.
    if syntax not in _OTHERS and importlib.util.find_spec("SimpleITK"):
        return True
    try:
        from pydicom.pixels import get_decoder
    except ImportError:  # pydicom 2
        import pydicom.config

        return any(
            handler.is_available() and handler.supports_transfer_syntax(syntax)
            for handler in pydicom.config.pixel_data_handlers
        )
    try:
        return bool(get_decoder(syntax).is_available)
    except NotImplementedError:
        return False
