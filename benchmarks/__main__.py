"""`make bench`: hot path, footprint, fallback, a thousand streams; one after the other."""

from benchmarks import fallback, footprint, hot_path, streams

if __name__ == "__main__":
    hot_path.main([])
    footprint.main([])
    fallback.main([])
    streams.main([])
