"""Who decides: eligibility, then stages in order, each with one verb."""
