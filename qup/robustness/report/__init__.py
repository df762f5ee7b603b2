"""How robust is a classifier: one evaluation, one report, one page."""

from qup.robustness.report.curve import RobustnessCurve, robustness_curve
from qup.robustness.report.protocol import STANDARD
from qup.robustness.report.report import Report
from qup.robustness.report.run import evaluate, write_report

__all__ = ["STANDARD", "Report", "RobustnessCurve", "evaluate", "robustness_curve", "write_report"]
