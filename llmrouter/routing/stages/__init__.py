"""The stages that may decide: each answers with a target or abstains."""
