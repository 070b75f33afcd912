from batches.models.adopting import DeletedPart, Listing, Match
from batches.models.batch import Batch, Run
from batches.models.estimate import Estimate
from batches.models.index import Request, Result
from batches.models.message_batch import MessageBatch
from batches.models.upload import Upload
from batches.models.worker import Worker

__all__ = [
    "Batch",
    "DeletedPart",
    "Estimate",
    "Listing",
    "Match",
    "MessageBatch",
    "Request",
    "Result",
    "Run",
    "Upload",
    "Worker",
]
