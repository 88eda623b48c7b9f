//! Run folders in; tables, curves and verdicts out.
