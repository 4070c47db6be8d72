"""What was noted lately: the newest so many, so that nothing grows with the years. Pure."""

from collections.abc import Iterable, Iterator

MOST = 4096


class Recent:
    """A set of texts that forgets the oldest beyond `most`."""

    def __init__(self, texts: Iterable[str] = (), *, most: int = MOST) -> None:
        self._most = most
        self._texts: dict[str, None] = {}
        self.update(texts)

    def __contains__(self, text: object) -> bool:
        return text in self._texts

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)

    def update(self, texts: Iterable[str]) -> None:
        """Note them, as the newest."""
        for text in texts:
            self._texts.pop(text, None)
            self._texts[text] = None
        while len(self._texts) > self._most:
            del self._texts[next(iter(self._texts))]

    def drop(self, texts: Iterable[str]) -> None:
        """Forget them, where they were noted."""
        for text in texts:
            self._texts.pop(text, None)
