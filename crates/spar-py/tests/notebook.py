"""Executes a notebook, and looks for its table."""

import re
import sys

import nbformat
from nbclient import NotebookClient

notebook = nbformat.read(sys.argv[1], as_version=4)
nbformat.validate(notebook)
for cell in notebook.cells:
    assert not cell.get("outputs"), "the notebook is kept without outputs"
NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
texts = [
    output.get("text", "") or output.get("data", {}).get("text/plain", "")
    for cell in notebook.cells
    for output in cell.get("outputs", [])
]
table = next((text for text in texts if "IQM" in text), None)
assert table, texts
print(table)
number = r"-?\d+\.\d"
rows = re.findall(rf"^(\w+) +({number}) +\[ *({number}), *({number})\]$", table, re.M)
assert len(rows) >= 2, table
for name, *values in rows:
    value, low, high = map(float, values)
    assert low <= value <= high, (name, values)
