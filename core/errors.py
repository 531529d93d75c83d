"""Errors with a next step: one sentence on what is wrong, then what to do.

    FacetError                  safe to show to visitors: no tracebacks, no secrets
      PictureError              a file that is not a picture, is truncated or too large
      PhotoError                a picture in which no usable face was found
      CheckpointError           a checkpoint that is unknown, missing, damaged or not downloadable
      VectorError               a face vector of the wrong length or with values that are not finite
      SettingsError             a setting outside its range or of the wrong type
      OutputError               a file or folder that can't be written
"""

LFS_POINTER = b"version https://git-lfs"    # the first bytes of a file that Git LFS has not replaced by its content
LFS_STEP = "Download the file itself:  git lfs pull"


class FacetError(Exception):
    """An error with a message of one sentence.

    next_step: what to do about it; also available as an attribute for separate layout.
    """

    def __init__(self, message: str, next_step: str = "") -> None:
        super().__init__(f"{message}\n  {next_step}" if next_step else message)
        self.message = message
        self.next_step = next_step

    def __reduce__(self):
        return type(self), (self.message, self.next_step)


class PictureError(FacetError):
    """A picture that cannot be read."""


class PhotoError(FacetError):
    """A photo in which no usable face was found."""


class CheckpointError(FacetError):
    """A checkpoint that cannot be used."""


class VectorError(FacetError):
    """A face vector that cannot be used."""


class SettingsError(FacetError):
    """A setting outside its range or of the wrong type."""


class OutputError(FacetError):
    """A file or folder that can't be written."""
