"""`make bench`: every figure of docs/performance.md, one after the other."""

from benchmarks import (
    catalog_edits,
    fallback,
    footprint,
    guards,
    hot_path,
    learned_decision,
    learning_stalls,
    streams,
    translation_cost,
)

if __name__ == "__main__":
    hot_path.main([])
    guards.main([])
    footprint.main([])
    fallback.main([])
    streams.main([])
    translation_cost.main()
    catalog_edits.main([])
    learning_stalls.main()
    learned_decision.main()  # says by its exit code whether the budget was kept
