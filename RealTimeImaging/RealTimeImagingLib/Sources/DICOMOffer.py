"""What is offered to senders: all kinds of storage, in the transfer syntaxes that can be decoded here."""

from __future__ import annotations

from typing import Any

_UNCOMPRESSED = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
_COMPRESSED = (
    *("1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80"),
    *("1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.201"),
    *("1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"),
)
"""JPEG lossless, RLE, JPEG-LS, JPEG 2000, HTJ2K, JPEG (PS3.6 annex A)."""
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_VERIFICATION = "1.2.840.10008.1.1"


def contextsOffered() -> list[Any]:
    """Contexts of pynetdicom; of the transfer syntaxes that a sender proposes for one kind, the first here is taken."""
    from pynetdicom import AllStoragePresentationContexts, build_context

    syntaxes = [*_UNCOMPRESSED, *(one for one in _COMPRESSED if _isDecodable(one)), _BIG_ENDIAN]
    kinds = [str(context.abstract_syntax) for context in AllStoragePresentationContexts]
    return [build_context(_VERIFICATION), *(build_context(kind, syntaxes) for kind in kinds)]


def _isDecodable(syntax: str) -> bool:
    try:
        from pydicom.pixels import get_decoder
    except ImportError:
        import pydicom.config

        return any(
            handler.is_available() and handler.supports_transfer_syntax(syntax)
            for handler in pydicom.config.pixel_data_handlers
        )
    try:
        return bool(get_decoder(syntax).is_available)
    except NotImplementedError:
        return False
