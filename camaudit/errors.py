"""Every exception that camaudit raises, on one page.

All derive from :class:`CamauditError`. A message says what was expected, what came, and what
to do. :class:`UsageError` and its children mean that the caller asked for something impossible
(the command line exits with 2); :class:`AuditError` and its children mean that the audit itself
could not be carried out (exit 3); :class:`FetchError` and its children that a file could not be
had (exit 3); :class:`GenerationError` that a picture could not be generated (exit 3).
"""

from __future__ import annotations

__all__ = [
    "ArchiveError",
    "AuditError",
    "BrokenTransferError",
    "BudgetError",
    "CamauditError",
    "DegenerateModelError",
    "DeviceError",
    "DuplicateNameError",
    "FetchError",
    "GenerationError",
    "ImageError",
    "LayerError",
    "MethodError",
    "MismatchError",
    "MissingExtraError",
    "ModelError",
    "NotApplicableError",
    "OfflineError",
    "OutputError",
    "TrainingError",
    "UnknownNameError",
    "UsageError",
    "WallError",
    "WeightsError",
    "ZoneError",
]


class CamauditError(Exception):
    """Base of every exception of camaudit."""

    exit_code = 3


class UsageError(CamauditError):
    """What was asked for is impossible or misspelt; nothing was computed."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name is not in a registry; the message lists the near ones."""


class DuplicateNameError(UsageError):
    """A name is registered already; registries never overwrite silently."""


class MissingExtraError(UsageError):
    """An optional library is not installed; the message names the extra that brings it."""


class ModelError(UsageError):
    """A model cannot be audited as it stands: training mode, tuple or dict output, bad spec."""


class WeightsError(ModelError):
    """A weights file is unreadable, unsafe, or does not fit the model."""


class LayerError(UsageError):
    """A layer does not exist, is no N×K×h×w map, or is not the only path to the logits."""


class WallError(UsageError):
    """A wall cannot be built as asked: no live row, no dead row, a mask of another size."""


class ImageError(UsageError):
    """No usable image: an empty or missing folder, or nothing but unreadable files."""


class DeviceError(UsageError):
    """The device that was asked for is not there."""


class OutputError(UsageError):
    """The output folder cannot be written."""


class AuditError(CamauditError):
    """The audit started and could not be completed."""


class TrainingError(AuditError):
    """Training cannot go on: the loss is not finite, or a mask did not hold."""


class DegenerateModelError(AuditError):
    """The model's logits are not finite, so there is no decision to explain."""


class ZoneError(AuditError):
    """A claimed dead zone was refuted: changing dead pixels changed the logits."""


class MethodError(AuditError):
    """A saliency method failed on a batch; the cause is chained."""


class NotApplicableError(CamauditError):
    """A method is not defined on this model (CAM without a pooled Linear head, say)."""


class FetchError(CamauditError):
    """A file could not be fetched as asked; nothing was put in its place."""


class OfflineError(FetchError):
    """The server cannot be reached: no network, no such host, or a proxy that refuses."""


class BrokenTransferError(FetchError):
    """A transfer broke off or the server was busy, so that another try may succeed.

    `retry_after` is what the server asked to wait, in seconds, where it did.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class MismatchError(FetchError):
    """What came is not the expected file: its hash or its size is another."""


class ArchiveError(FetchError):
    """An archive is damaged or unsafe; nothing of it was unpacked."""


class GenerationError(CamauditError):
    """A generator cannot go on; what it has made is kept, and the same command goes on."""


class BudgetError(GenerationError):
    """The next request to a paid generator could exceed the budget; it was not sent."""
