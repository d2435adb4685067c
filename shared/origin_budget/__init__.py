"""The origin budget: how many requests may go to a feed's origin, and when each.

One ledger a feed, a document in MongoDB, counts for all workers together. The rules are pure:

- `ledger` and `codec`: what is counted, and how that is stored; `moments`: the unit of time
- `limits`, `windows` and `pacing`: how many requests, and when
- `suspension`, `pause`, `throttling` and `breaker`: when none at all
- `grants` and `accounting`: how a download begins and ends
- `use`: what is left of the budget, for operators

`budget` is the shell that workers ask, made of `clock`, `cache` and `downloads`; `reading` reads `use`.
"""
