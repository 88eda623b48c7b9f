"""The file behind the batch, for methods that look along its trajectories."""

FILE_ROWS = 24


class File:
    def __init__(self, inputs):
        self.obs = inputs["file.observations"].view(FILE_ROWS, -1).double()
        self.reward = inputs["file.rewards"].double()
        self.terminal = inputs["file.terminals"] == 1
        self.timeout = inputs["file.timeouts"] == 1
        # D4RL's: a cut row gives no transition, a terminal one does.
        self.rows = [i for i in range(FILE_ROWS - 1) if not self.timeout[i]]

    def trajectories(self):
        """Ranges of rows, cut rows included."""
        start = 0
        for i in range(FILE_ROWS):
            if self.terminal[i] or self.timeout[i]:
                yield range(start, i + 1)
                start = i + 1
        assert start == FILE_ROWS
