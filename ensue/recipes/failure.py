"""A run that ended before its last step."""


class RunFailed(Exception):
    """Says what happened and what to type next; `code` is the process's exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code
