"""What a run is built of, and which options cannot go together."""


def test_compiling_with_a_gradient_penalty_is_refused(run_main, tmp_path):
    status, _, err = run_main("--loss", "duq", "--compile")
    assert status == 2
    assert "--compile cannot go with --loss duq" in err
    assert not (tmp_path / "runs").exists()
