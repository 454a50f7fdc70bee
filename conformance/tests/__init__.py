"""The tests of the suite itself: a driver without a fault, drivers with one each, and what a run says."""
