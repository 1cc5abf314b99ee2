"""`make bench`: the hot path and the footprint, one after the other."""

from benchmarks import footprint, hot_path

if __name__ == "__main__":
    hot_path.main([])
    footprint.main([])
