import os
import pickle
import tempfile
import unittest
from pathlib import Path

from cc_bridge import (
    Bridge,
    SettingsError,
    Token,
    find_token,
)

SECRET = "ccb_" + "s3cret" * 7


class TokenTest(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def file(self, text: str, name: str = "token", mode: int = 0o600) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return str(path)

    def found(self, **environment: str) -> str | None:
        token = find_token(environment)
        return None if token is None else token.expose()

    def test_the_first_place_that_names_a_token_counts(self) -> None:
        home = str(self.folder / "home")
        named = self.file("named\n")
        self.file("of_home\n", "home/.config/cc-bridge/token")
        self.file("of_xdg", "xdg/cc-bridge/token")
        xdg = str(self.folder / "xdg")
        self.assertEqual(self.found(CCB_TOKEN_FILE=named, CCB_TOKEN="t", HOME=home), "named")
        self.assertEqual(self.found(CCB_TOKEN="t", HOME=home), "t")
        self.assertEqual(self.found(HOME=home), "of_home")
        self.assertEqual(self.found(HOME=home, XDG_CONFIG_HOME=xdg), "of_xdg")
        self.assertEqual(self.found(HOME=home, XDG_CONFIG_HOME="relative"), "of_home")
        self.assertIsNone(self.found(HOME=str(self.folder / "nobody")))
        self.assertIsNone(self.found())

    def test_a_place_that_cannot_be_used_is_an_error_without_the_token(self) -> None:
        open_file = self.file(SECRET, mode=0o644)
        two_lines = self.file(f"{SECRET}\n{SECRET}", "two")
        for environment in (
            {"CCB_TOKEN_FILE": open_file},
            {"CCB_TOKEN_FILE": two_lines},
            {"CCB_TOKEN_FILE": self.file(" \n", "empty")},
            {"CCB_TOKEN_FILE": str(self.folder / "missing")},
            {"CCB_TOKEN_FILE": str(self.folder)},
            {"CCB_TOKEN": f"{SECRET} {SECRET}"},
            {"CCB_TOKEN": ""},
        ):
            with self.assertRaises(SettingsError, msg=str(environment)) as raised:
                find_token(environment)
            self.assertNotIn("s3cret", str(raised.exception))

    def test_a_token_is_in_no_repr_and_no_pickle(self) -> None:
        token = Token(SECRET)
        bridge = Bridge("ws://127.0.0.1:1", token=token)
        self.assertNotIn("s3cret", f"{token!r} {token} {bridge!r} {bridge._target!r}")
        with self.assertRaises(TypeError):
            pickle.dumps(token)
        with self.assertRaises(SettingsError) as raised:
            Token(SECRET + "\n")
        self.assertNotIn("s3cret", str(raised.exception))

    def test_no_token_and_a_token_of_the_environment_differ(self) -> None:
        environment = dict(os.environ)
        self.addCleanup(os.environ.update, environment)
        self.addCleanup(os.environ.clear)
        os.environ.update(CCB_TOKEN=SECRET)
        os.environ.pop("CCB_TOKEN_FILE", None)
        self.assertIsNone(Bridge(token=None)._target.token)
        found = Bridge()._target.token
        self.assertEqual(found and found.expose(), SECRET)

    def test_an_unencrypted_way_to_another_machine_is_logged(self) -> None:
        with self.assertLogs("cc_bridge", "WARNING") as logs:
            Bridge("ws://10.1.2.3/ws", token=SECRET)
        self.assertIn("unencrypted", logs.output[0])
        self.assertNotIn("s3cret", logs.output[0])


if __name__ == "__main__":
    unittest.main()
