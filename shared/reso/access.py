"""Gives a process what its requests to the APIs of all feeds need: tokens and quotas."""

from dataclasses import dataclass

from shared.clock import utc_now
from shared.domain.feed import Feed
from shared.origin_budget.budget import OriginBudget
from shared.reso.tokens import TokenIssuer, TokenStores
from shared.secret_values import read_secret
from shared.stores import mongo


@dataclass(frozen=True, slots=True)
class ApiAccess:
    """Holds what one process needs for requests to the APIs of all feeds: the budget that counts them, and tokens."""

    budget: OriginBudget
    """Counts the requests to all APIs."""
    stores: TokenStores
    worker: str
    """The name of this process."""

    @classmethod
    def of(cls, database: mongo.Database, budget: OriginBudget, worker: str) -> "ApiAccess":
        """Return the ApiAccess of the process named `worker`, with the tokens that are stored in `database`.

        `budget` must be the only OriginBudget of the process. A second one would take the slots of the first for slots
        of an earlier run, and free them.
        """
        return cls(budget, TokenStores(mongo.MongoTokens(database), mongo.MongoLeases(database)), worker)

    def token(self, feed: Feed) -> str | TokenIssuer:
        """Return the token for requests to the feed's API; "" if the feed has none.

        If the feed's tokens come from a token endpoint (`reso_auth`), the TokenIssuer that requests them is returned
        instead. The secrets are read from the environment or `.env`. Raises SecretUnreadable if the file of a secret
        cannot be used.
        """
        if not feed.reso.auth.uses_token_endpoint:
            return read_secret(feed.reso_token_env) if feed.reso_token_env else ""
        secrets = {name: read_secret(name) for name in feed.reso_secret_names.values()}
        return TokenIssuer(feed, secrets, self.stores, self.worker, utc_now)
