"""What somebody wished for and cannot have, told in a way that leads to what they can have."""


class WishError(ValueError):
    """The text begins with the field at fault and a colon, and tells the remedy; never a secret."""

    @property
    def field(self) -> str:
        return str(self).partition(":")[0]
