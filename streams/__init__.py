"""What happens: stages as plain functions, and the one place that runs them on Faust."""
