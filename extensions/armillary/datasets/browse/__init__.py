"""Looking at a dataset: pages of examples with filters, and how the values of a column are distributed.

>>> from armillary import datasets
>>> first = datasets.browse.page("digits@1", filters=datasets.browse.Filters(class_name="7"))
>>> first.total, first.rows[:3]
(500, (3500, 3501, 3502))

Row groups are read as they are needed, without their images, sounds and videos; no column is ever read whole.
"""

from armillary.datasets.browse.filters import ANY_COLUMN, Filters
from armillary.datasets.browse.histograms import Histogram, histogram
from armillary.datasets.browse.pages import PAGE, Page, Pages, page

__all__ = ["ANY_COLUMN", "PAGE", "Filters", "Histogram", "Page", "Pages", "histogram", "page"]
