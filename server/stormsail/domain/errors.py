"""The one error tree. Each error knows its SMTP reply, its HTTP status and code, and its sentence for people.

What is not in this tree is an unknown failure, and unknown failures are temporary: `451 4.3.0`, HTTP 500.
"""

from __future__ import annotations

from .reply import Reply, escape

UNKNOWN_FAILURE = Reply(451, "4.3.0", "Something went wrong here, please try again later")


class StormsailError(Exception):
    """Root. `sentence` is what a person reads; the class says the rest."""

    http_status = 500
    code = "internal_error"
    smtp_code = 451
    smtp_enhanced = "4.3.0"

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence

    @property
    def reply(self) -> Reply:
        """The SMTP reply that tells a peer of this error."""
        return Reply(self.smtp_code, self.smtp_enhanced, escape(self.sentence))


class TemporaryError(StormsailError):
    """May succeed later, unchanged."""

    http_status = 503
    code = "temporary_failure"


class Overloaded(TemporaryError):
    code = "overloaded"
    smtp_code = 421
    smtp_enhanced = "4.3.2"


class StorageFull(TemporaryError):
    http_status = 507
    code = "storage_full"
    smtp_code = 452
    smtp_enhanced = "4.3.1"


class OutcomeUnknown(TemporaryError):
    """A commit may or may not have happened (DESIGN §3.1)."""

    code = "outcome_unknown"


class RecipientUnverified(TemporaryError):
    code = "recipient_unverified"
    smtp_code = 450
    smtp_enhanced = "4.1.1"


class TooManyRecipients(TemporaryError):
    http_status = 422
    code = "too_many_recipients"
    smtp_code = 452
    smtp_enhanced = "4.5.3"


class NextHopUnavailable(TemporaryError):
    """A next hop could not be reached or gave up on the conversation."""

    code = "next_hop_unavailable"
    smtp_enhanced = "4.4.1"


class PermanentError(StormsailError):
    """Will fail again unless something is changed."""

    http_status = 422
    code = "refused"
    smtp_code = 550
    smtp_enhanced = "5.7.1"


class BadAddress(PermanentError):
    code = "bad_address"
    smtp_code = 553
    smtp_enhanced = "5.1.3"


class UnknownRecipient(PermanentError):
    code = "unknown_recipient"
    smtp_enhanced = "5.1.1"


class RelayDenied(PermanentError):
    code = "relay_denied"


class UntrustedPeer(PermanentError):
    http_status = 403
    code = "untrusted_peer"


class MessageTooLarge(PermanentError):
    http_status = 413
    code = "message_too_large"
    smtp_code = 552
    smtp_enhanced = "5.3.4"


class BadContent(PermanentError):
    """Bytes that no message may contain, or a message without form."""

    code = "bad_content"
    smtp_code = 554
    smtp_enhanced = "5.6.0"


class LoopDetected(PermanentError):
    code = "loop_detected"
    smtp_code = 554
    smtp_enhanced = "5.4.6"


class BadRequest(PermanentError):
    """The request's words are off: an unknown scope, a selector without meaning, a missing field."""

    http_status = 400
    code = "bad_request"
    smtp_code = 501
    smtp_enhanced = "5.5.4"


class NotSignedIn(PermanentError):
    http_status = 401
    code = "not_signed_in"
    smtp_code = 530
    smtp_enhanced = "5.7.0"


class NotAllowed(PermanentError):
    http_status = 403
    code = "not_allowed"


class NotFound(PermanentError):
    http_status = 404
    code = "not_found"
    smtp_enhanced = "5.1.1"


class Conflict(PermanentError):
    """The state of things does not allow this now."""

    http_status = 409
    code = "conflict"


class IdempotencyKeyReused(Conflict):
    """The same key came with another request."""

    code = "idempotency_key_reused"


class TooManyTries(TemporaryError):
    """Wait `retry_after_s` first."""

    http_status = 429
    code = "too_many_tries"
    smtp_code = 454
    smtp_enhanced = "4.7.0"

    def __init__(self, sentence: str, retry_after_s: int = 60) -> None:
        super().__init__(sentence)
        self.retry_after_s = retry_after_s


class ConfigError(PermanentError):
    """The configuration is wrong; the sentence names the file, the key and, where there is one, the nearest name."""

    code = "bad_configuration"


class StoreError(TemporaryError):
    """The data directory cannot be used: another owner, a newer database, a failed disk."""

    code = "store_unusable"


class TakenOver(StoreError):
    """Another gateway owns the data directory now: nothing of it may be written or sent any more."""
