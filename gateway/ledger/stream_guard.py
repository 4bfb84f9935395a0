"""Keeps a stream within what is reserved for it: reserves more while there is more."""

from collections.abc import Callable

from gateway.domain.budgets import Reservation
from gateway.ledger.budgets import Spending
from gateway.ledger.purse import Purse

_CHUNK_BYTES = 256
"""So much may come with the next event; what is reserved is to cover it."""
_RUNAWAY = 2.0
"""An answer that its provider promised to end in time is only taken for one that does not end when
its bytes say twice as much: some texts have long tokens."""
_MTOK = 1_000_000


class StreamGuard:
    """Of one streamed attempt: ``until_bytes`` of its answer are covered.

    What an answer costs is told at its end alone; until then it is estimated from its bytes.
    """

    __slots__ = (
        "_note",
        "_number",
        "_nusd_per_mtok",
        "_purse",
        "_ratio",
        "_spending",
        "until_bytes",
    )

    def __init__(
        self,
        purse: Purse,
        spending: Spending,
        number: int,
        *,
        prompt_nusd: int,
        nusd_per_mtok: int,
        bytes_per_token: float,
        is_bounded: bool,
        note: Callable[[Reservation], None],
    ) -> None:
        """Guard an open attempt.

        Args:
            purse: to ask for more.
            spending: of the request.
            number: of the attempt.
            prompt_nusd: what everything but the answer is expected to cost.
            nusd_per_mtok: what a million tokens of the answer cost; above 0.
            bytes_per_token: of the answer.
            is_bounded: what is reserved is the most that the provider was told to generate.
            note: told of each larger reservation, for a crash to find.
        """
        self._purse = purse
        self._spending = spending
        self._number = number
        self._nusd_per_mtok = nusd_per_mtok
        self._ratio = bytes_per_token * (_RUNAWAY if is_bounded else 1)
        self._note = note
        reserved = spending.reservation_of(number).nusd or 0
        covered = self._bytes_for(reserved - prompt_nusd)
        self.until_bytes = covered if is_bounded else covered - min(_CHUNK_BYTES, covered // 8)

    async def extend(self) -> None:
        """Cover half as much again as is reserved.

        Raises:
            BudgetExceededError: there is no more.
        """
        reserved = self._spending.reservation_of(self._number).nusd or 0
        more = await self._purse.extend(self._spending, self._number, max(1, reserved // 2))
        self.until_bytes += self._bytes_for(more)
        self._note(self._spending.reservation_of(self._number))

    def _bytes_for(self, nusd: int) -> int:
        return int(nusd * _MTOK * self._ratio / self._nusd_per_mtok)
