"""Which endpoint, with which credential, a request asks next: the plan, as health lets it be used.

Health gives advice and never fails a request: when it refuses whatever is left, one of those is
asked all the same.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from gateway.domain.outcomes import CONSEQUENCES, Outcome
from gateway.execution.access import AccessBook
from gateway.routing.plan import Candidate
from pricing.endpoint import Endpoint


class Advice(Protocol):
    """What health says at the last moment; routing asked it when the plan was made."""

    def may_try(self, endpoint: Endpoint, credential: int) -> bool:
        """Whether an attempt may begin now; asked once before each, since probes are counted."""
        ...

    def credential_is_out(self, provider: str, credential: int) -> bool:
        """Whether a provider refused one of its credentials, or lets it rest everywhere."""
        ...

    def is_limited(self, endpoint: Endpoint, credential: int) -> bool:
        """Whether an endpoint rests for a rate limit that it met with this credential."""
        ...


class NoAdvice:
    """Everything may be tried."""

    def may_try(self, endpoint: Endpoint, credential: int) -> bool:
        del endpoint, credential
        return True

    def credential_is_out(self, provider: str, credential: int) -> bool:
        del provider, credential
        return False

    def is_limited(self, endpoint: Endpoint, credential: int) -> bool:
        del endpoint, credential
        return False


class Step(NamedTuple):
    """One endpoint of the plan, and one of its provider's credentials."""

    position: int
    credential: int


class Course:
    """Where one request has been, and where it may go next."""

    __slots__ = (
        "_advice",
        "_beside",
        "_book",
        "_candidates",
        "_furthest",
        "_is_defiant",
        "_passed",
        "_spoilt",
        "_turns",
    )

    def __init__(self, candidates: Sequence[Candidate], book: AccessBook, advice: Advice) -> None:
        """Stand before the first of the candidates, of which there is at least one."""
        self._candidates = candidates
        self._book = book
        self._advice = advice
        self._furthest = -1
        self._beside: list[int] = []
        """Positions out of turn: asked beside another one."""
        self._is_defiant = False
        self._passed: list[int] = []
        """Positions that health advised against."""
        self._spoilt: set[tuple[str, int]] = set()
        """Credentials that failed here: of an endpoint (429), or of its whole provider."""
        self._turns: dict[str, tuple[int, ...]] = {}

    def first(self) -> Step:
        """The first endpoint that health lets us try; the plan's first if there is none."""
        for position in range(len(self._candidates)):
            step = self._advised(position)
            if step is not None:
                self._furthest = position
                return step
        return self._against_advice(0)

    def after(self, step: Step, outcome: Outcome) -> Step | None:
        """Where to go once an attempt failed; None when nothing new is left, or nothing advised.

        A credential that was refused or is at its limit makes way for the endpoint's next one.
        """
        consequence = CONSEQUENCES[outcome]
        endpoint = self._candidates[step.position].endpoint
        if consequence.blames_credential or outcome is Outcome.RATE_LIMITED:
            whose = endpoint.provider if consequence.blames_credential else endpoint.id
            self._spoilt.add((whose, step.credential))
            other = self._advised(step.position) if self._has_several(endpoint) else None
            if other is not None:
                return other
        for position in range(self._furthest + 1, len(self._candidates)):
            if position not in self._beside and self._leads_to(position, step, outcome):
                found = self._advised(position)
                if found is not None:
                    self._furthest = position
                    return found
        return None

    def against_advice(self, step: Step, outcome: Outcome) -> Step | None:
        """An endpoint that was passed over and is all that is left; once in a request."""
        if self._is_defiant:
            return None
        for position in self._passed:
            if self._leads_to(position, step, outcome) and self._usable(position):
                return self._against_advice(position)
        return None

    def beside(self, step: Step) -> Step | None:
        """Another endpoint of the same model, to be asked while the first one is silent."""
        model = self._candidates[step.position].endpoint.model
        for position in range(self._furthest + 1, len(self._candidates)):
            if self._candidates[position].endpoint.model == model:
                found = self._advised(position)
                if found is not None:
                    self._beside.append(position)
                    return found
        return None

    def may_repeat(self, step: Step) -> bool:
        """Whether health lets the same endpoint be asked again."""
        endpoint = self._candidates[step.position].endpoint
        return self._advice.may_try(endpoint, step.credential)

    def _leads_to(self, position: int, step: Step, outcome: Outcome) -> bool:
        consequence = CONSEQUENCES[outcome]
        if consequence.next_endpoint:
            return True
        model = self._candidates[step.position].endpoint.model
        return consequence.next_model and self._candidates[position].endpoint.model != model

    def _advised(self, position: int) -> Step | None:
        """A step that health agrees with; remembers the position if there is none."""
        endpoint, advice = self._candidates[position].endpoint, self._advice
        usable = self._usable(position)
        # With one credential routing knew as much when it made the plan.
        if self._has_several(endpoint):
            usable = [
                credential
                for credential in usable
                if not advice.credential_is_out(endpoint.provider, credential)
                and not advice.is_limited(endpoint, credential)
            ]
        for credential in usable:
            if advice.may_try(endpoint, credential):
                return Step(position, credential)
        if position > self._furthest and position not in self._passed:
            self._passed.append(position)
        return None

    def _against_advice(self, position: int) -> Step:
        self._is_defiant = True
        self._furthest = max(self._furthest, position)
        usable = self._usable(position)
        return Step(position, usable[0] if usable else 0)

    def _usable(self, position: int) -> Sequence[int]:
        """Credentials of an endpoint that have not failed in this request, in turn."""
        endpoint = self._candidates[position].endpoint
        provider = endpoint.provider
        turn = self._turns.get(provider)
        if turn is None:
            turn = self._turns[provider] = self._book.credentials_in_turn(provider)
        if not self._spoilt:
            return turn
        return [
            credential
            for credential in turn
            if (provider, credential) not in self._spoilt
            and (endpoint.id, credential) not in self._spoilt
        ]

    def _has_several(self, endpoint: Endpoint) -> bool:
        return len(self._turns[endpoint.provider]) > 1
