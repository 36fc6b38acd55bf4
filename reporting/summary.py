"""What predict.py prints: a summary of all images, and a table of the images if they are few."""

from collections import Counter
from collections.abc import Sequence

from tabulate import tabulate

from experiment.classifier import Classifier
from utils.output import visible

from .rows import Row

FEW = 20  # images that are listed; of more, the classes are counted
SOME_CLASSES = 10  # classes that a summary counts
SOME_FILES = 5  # files that a summary names
LARGE = 4  # images whose shorter side is more than so many times the network's lose their details


class Summary:
    """Counts the rows of all images, in constant memory.

    Args:
        classifier: the network that decides.
    """

    def __init__(self, classifier: Classifier):
        self.classifier = classifier
        self.counts = Counter[str]()
        self.classes = Counter[str]()  # of the accepted images
        self.failures: list[Row] = []  # the first few files that could not be read

    def add(self, row: Row) -> None:
        """Count an image."""
        self.counts["all"] += 1
        if row.error or row.size is None:
            self.counts["failed"] += 1
            self.failures += [row] * (len(self.failures) < SOME_FILES)
            return
        if row.accepted:
            self.counts["accepted"] += 1
            self.classes[row.name or ""] += 1
        else:
            self.counts["refused"] += 1
        self.counts["coloured"] += row.coloured
        self.counts["large"] += min(row.size) > LARGE * min(self.classifier.size)

    @property
    def failed(self) -> int:
        """How many images could not be read."""
        return self.counts["failed"]

    def counted(self) -> str:
        """Return the numbers of all, accepted, refused and unreadable images."""
        kinds = [f"{self.counts[kind]:,} {kind}" for kind in ("accepted", "refused")]
        if self.failed:
            kinds.append(f"{self.failed:,} could not be read")
        return f"{_images(self.counts['all'])}: {', '.join(kinds)}"

    def class_table(self) -> str:
        """Return the most frequent classes among the accepted images, as a table."""
        rows = [
            [visible(name), f"{count:,}"] for name, count in self.classes.most_common(SOME_CLASSES)
        ]
        if len(self.classes) > SOME_CLASSES:
            others = len(self.classes) - SOME_CLASSES
            rows.append([f"{others} more", f"{self.classes.total() - self._shown():,}"])
        return tabulate(rows, ["class", "accepted"], disable_numparse=True, colalign=_RIGHT)

    def _shown(self) -> int:
        return sum(count for _, count in self.classes.most_common(SOME_CLASSES))

    def paragraphs(self, listed: Sequence[Row]) -> list[str]:
        """Return the paragraphs to print. A table of the listed rows comes first."""
        parts = [table(listed, self.classifier)] if listed else []
        parts.append(self.counted())
        if self.classes and self.counts["all"] > FEW:
            parts.append(self.class_table())
        return [*parts, decision_rule(self.classifier)]

    def failed_files(self) -> str:
        """Return the first few files that could not be read, and how many there are."""
        lines = [f"{_images(self.failed)} could not be read:"]
        lines += [f"  {row.file}: {row.error}" for row in self.failures]
        if self.failed > SOME_FILES:
            lines.append(f"  and {self.failed - SOME_FILES:,} more")
        return "\n".join(lines)

    def warnings(self) -> list[str]:
        """Return a line for each reason why the network may accept what it should not."""
        total, lines = self.counts["all"] - self.failed, []
        if self.classifier.grey and (coloured := self.counts["coloured"]):
            lines.append(
                f"{coloured:,} of {_images(total)} have colour, and the network was "
                "trained on grey images only: they were turned grey, and without their colour it "
                "may accept images that it does not know"
            )
        if large := self.counts["large"]:
            height, width = self.classifier.size
            lines.append(
                f"{large:,} of {_images(total)} have a shorter side of more than {LARGE} times the "
                f"network's ({width}×{height} pixels): they were made smaller, and without "
                "their details it may accept images that it does not know"
            )
        return lines


_RIGHT = ("left", "right")


def _images(count: int) -> str:
    return f"{count:,} image{'s' * (count != 1)}"


def _percent(share: float) -> str:
    return f"{100 * share:.4g}%"


def decision_rule(classifier: Classifier) -> str:
    """Return the line that says which score decides, and from which value on it accepts."""
    if classifier.threshold is None:
        return "accepted: the file decides, and does not tell by which score and threshold"
    name = {None: "score", "own": "head's own score"}.get(
        classifier.score, f"{classifier.score} score"
    )
    each = isinstance(classifier.threshold, list)
    least = "its predicted class's threshold" if each else f"{classifier.threshold:.4g}"
    line = f"accepted: the {name} is at least {least}"
    if classifier.tpr is None:
        return line
    share = f"{line}, as for {_percent(classifier.tpr)} or more of the held-out images"
    return f"{share} of each predicted class" if each else share


def table(rows: Sequence[Row], classifier: Classifier) -> str:
    """Return the rows as a table to print."""
    cells = [
        [visible(row.file), "", None, None, "FAILED"]
        if row.error
        else [
            visible(row.file),
            visible(row.name or ""),
            row.probability,
            row.score,
            "accepted" if row.accepted else "REFUSED",
        ]
        for row in rows
    ]
    answer = "answer" if classifier.tpr is None else f"at {_percent(classifier.tpr)} TPR"
    heads = ["file", "class", "probability", "score", answer]
    return tabulate(cells, heads, floatfmt=("", "", ".4f", ".4g", ""), disable_numparse=[0, 1])
