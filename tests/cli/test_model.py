"""`freshet model prepare`."""

from typer.testing import CliRunner

from cli import model


def test_a_torch_backend_needs_no_export() -> None:
    """With a torch backend there is nothing to export or measure, and the command says what is chosen."""
    result = CliRunner().invoke(model.app, ["prepare"], env={"FRESHET_ENCODER_BACKEND": "torch-fp32"})
    assert result.exit_code == 0, result.output
    assert "torch-fp32" in result.output
