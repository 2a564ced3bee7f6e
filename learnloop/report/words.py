"""Numbers, times and digests as a person reads them."""

from __future__ import annotations

from datetime import UTC, datetime


def duration(seconds: float) -> str:
    """Write a duration with the precision that matters.

    Args:
        seconds: How long, in seconds.

    Example:
        >>> duration(0.0042), duration(3.14159), duration(75.2), duration(7265.0)
        ('4 ms', '3.1 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 0.9995:
        return f"{seconds * 1_000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3_600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3_600} h {whole % 3_600 // 60} min"


def moment(time: datetime | None) -> str:
    """Write a moment in UTC.

    Args:
        time: The moment; without a zone it is taken as UTC.

    Example:
        >>> moment(datetime(2026, 11, 3, 6, 5, 9, tzinfo=UTC))
        '3 November 2026, 06:05 UTC'
    """
    if time is None:
        return "not yet"
    utc = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    return f"{utc.day} {utc:%B %Y, %H:%M} UTC"


def count(number: float) -> str:
    """Write a whole number with its thousands apart.

    Example:
        >>> count(17525)
        '17,525'
    """
    return f"{number:,.0f}"


def figure(value: float | None, digits: int = 3) -> str:
    """Write a figure, or a dash where there is none.

    Example:
        >>> figure(0.77264), figure(None)
        ('0.773', '–')
    """
    return "–" if value is None else f"{value:.{digits}f}"


def signed(value: float | None, digits: int = 4) -> str:
    """Write a difference with its sign.

    Example:
        >>> signed(0.00123), signed(-0.5, 1)
        ('+0.0012', '−0.5')
    """
    return "–" if value is None else f"{value:+.{digits}f}".replace("-", "−")


def percent(share: float | None, digits: int = 1) -> str:
    """Write a share as a percentage.

    Example:
        >>> percent(0.4341)
        '43.4 %'
    """
    return "–" if share is None else f"{share * 100:.{digits}f} %"


def short(digest: str) -> str:
    """Write the beginning of a digest, enough to tell it from others.

    Example:
        >>> short("0123456789abcdef")
        '0123456789ab'
    """
    return digest[:12]
