"""What all parts of the library share: images, frames, events, errors, settings, texts and figures."""
