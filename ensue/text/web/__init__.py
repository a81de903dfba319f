"""Web archives and pages: reading them, their addresses, and the text that they are about."""
