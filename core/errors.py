"""Errors a person can act on: one sentence saying what is wrong, then what to do.

    FacetError                  safe to show to a visitor: no tracebacks, no secrets
      PictureError              a file that is not a picture, is cut off, or is too large
      PhotoError                a picture in which no usable face was found
      CheckpointError           a checkpoint that is unknown, missing, damaged or may not be fetched
      VectorError               a face vector of the wrong length, or with numbers that are not finite
      SettingsError             a setting outside its range, or of the wrong kind
"""


class FacetError(Exception):
    """What went wrong, in one sentence.

    next_step: what to do about it; shown under the sentence, and kept apart for those who lay it out themselves.
    """

    def __init__(self, message: str, next_step: str = "") -> None:
        super().__init__(f"{message}\n  {next_step}" if next_step else message)
        self.message = message
        self.next_step = next_step

    def __reduce__(self):
        return type(self), (self.message, self.next_step)


class PictureError(FacetError):
    """A picture that can't be read."""


class PhotoError(FacetError):
    """A photo in which no usable face was found."""


class CheckpointError(FacetError):
    """A checkpoint that can't be used."""


class VectorError(FacetError):
    """A face vector that can't be drawn."""


class SettingsError(FacetError):
    """A setting outside its range, or of the wrong kind."""
