"""A run's records in an embedded database: written as they come, found again by content.

Torch-free. What a cell is, and what its key is made of, is the audit's business.
"""

from camaudit.store.cells import Cell, cell_key, digest_of
from camaudit.store.database import STORE_NAME, Run, Store, open_store
from camaudit.store.scratch import Scratch

__all__ = ["STORE_NAME", "Cell", "Run", "Scratch", "Store", "cell_key", "digest_of", "open_store"]
