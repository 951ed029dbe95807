"""How good a model is: on cut-out lines and on whole pages."""
