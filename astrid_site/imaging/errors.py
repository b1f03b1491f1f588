"""Errors of the science code: what defeated the method, with the numbers that show it."""

from __future__ import annotations

Number = float | int | str | None


class AlgorithmError(Exception):
    """The data defeat the method; the run ends FAILED with this reason and these numbers."""

    def __init__(self, message: str, **numbers: Number) -> None:
        super().__init__(message)
        self.message = message
        self.numbers = numbers


class NoWorkError(AlgorithmError):
    """There is nothing to do, and that is no failure; the run ends SKIPPED with this reason."""


class ImageReadError(Exception):
    """A file cannot be used as an image; says which file, HDU and keyword, and what to do.

    Parameters
    ----------
    message : str
        What is wrong, in one sentence.
    file_name : str
        Name of the file as the user knows it.
    hdu : int or str, optional
        Index or EXTNAME of the offending HDU.
    keyword : str, optional
        Offending FITS keyword.
    remedy : str
        What the user can do about it.
    code : str
        Stable machine-readable reason, e.g. ``"truncated"`` or ``"no_image"``.
    """

    def __init__(
        self,
        message: str,
        *,
        file_name: str,
        code: str,
        remedy: str,
        hdu: int | str | None = None,
        keyword: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.file_name = file_name
        self.code = code
        self.remedy = remedy
        self.hdu = hdu
        self.keyword = keyword

    def __str__(self) -> str:
        where = self.file_name
        if self.hdu is not None:
            where += f"[{self.hdu}]"
        if self.keyword:
            where += f" {self.keyword}"
        return f"{where}: {self.message} {self.remedy}".rstrip()
