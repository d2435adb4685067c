"""The origin budget: how many requests may go to a feed's origin, and when each.

Each feed has a ledger, a document in MongoDB, which counts the requests of all workers together. The rules are pure:

- `ledger` and `codec`: what is counted, and how that is stored; `moments`: the unit of time
- `limits`, `windows` and `pacing`: how many requests may be sent, and when
- `suspension`, `pause`, `throttling` and `breaker`: when no request may be sent
- `grants`, `accounting` and `advance`: how a download begins and ends, and what expires
- `use`: how much of the budget is used, for operators

Workers call `budget`, which applies the rules to the stored ledgers with the help of `clock`, `cache` and `downloads`.
Operators' tools call `reading`.
"""
