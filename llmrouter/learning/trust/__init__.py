"""When a prediction may decide: confidence, agreement with the teacher, abstention."""
