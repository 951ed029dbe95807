"""Every error this package raises on purpose.

A message names the thing, its value, what is allowed, and the next step. The command line turns
these into one line on stderr and an exit code; the service turns them into an HTTP status.
"""


class OcrPipelineError(Exception):
    """Base of all errors that a user can mend; ``exit_code`` is what the command line returns."""

    exit_code = 1


class ConfigError(OcrPipelineError):
    """A configuration file or an override is not valid."""

    exit_code = 2


class ImageError(OcrPipelineError):
    """A picture cannot be read, or is outside the limits."""


class UnsupportedImageError(ImageError):
    """The bytes are no picture of an accepted format."""


class ImageTooLargeError(ImageError):
    """A picture has more pixels or bytes than the limit allows; found before decoding."""


class LabelError(OcrPipelineError):
    """A label cannot be used for training."""


class DataError(OcrPipelineError):
    """A label file, a folder of pictures or a dataset cannot be used."""


class AssetError(OcrPipelineError):
    """A released file (weights, dictionary, font) cannot be fetched or is not the expected one."""


class ArtifactError(OcrPipelineError):
    """A folder handed from one stage to the next is incomplete, changed or of another kind."""


class WeightsError(OcrPipelineError):
    """Weights do not fit the network."""


class TrainingError(OcrPipelineError):
    """Training cannot start or cannot go on."""


class NotFiniteError(TrainingError):
    """The loss became infinite or no number."""


class TrainingInterruptedError(OcrPipelineError):
    """Training was stopped by a signal; its state is saved. Exit code of a shell: 128 + SIGINT."""

    exit_code = 130


class ExportError(OcrPipelineError):
    """An exported model does not say the same as its checkpoint; nothing was written."""


class EngineError(OcrPipelineError):
    """An exported model cannot be loaded or run by an inference engine."""
