from serving.checks import check_data_directory


def test_it_works(archive):
    archive.chmod(0o700)
    assert check_data_directory() == []


def test_a_directory_that_others_can_read_is_said(archive):
    archive.chmod(0o755)
    [warning] = check_data_directory()
    assert warning.hint == f"chmod 700 {archive}"
