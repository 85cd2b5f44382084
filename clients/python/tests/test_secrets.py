"""The token, and TLS."""

import asyncio
import logging
import ssl
import subprocess
import tempfile
import traceback
import unittest
from pathlib import Path

from cc_bridge import (
    Bridge,
    BusyError,
    ConnectError,
    MethodNotFoundError,
    Options,
    RefusedError,
    SettingsError,
    TlsError,
    UnauthorizedError,
    UnreachableError,
)
from fake_bridge import FakeBridge, Plan

SECRET = "ccb_" + "s3cret" * 7
FAST = Options(first_delay=0.01, max_delay=0.05, connect_timeout=0.5)


class Recorder(logging.Handler):
    """All log records of the process, formatted."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name != "websockets.server":  # the fake bridge
            self.lines.append(self.format(record))


def everything(error: BaseException) -> str:
    """Return an exception with its whole chain and all local variables of its frames."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    lines = [*shown.format(), repr(error), str(vars(error))]
    # The chain that is not shown is examined too.
    chain = [error.__cause__, error.__context__]
    lines += [everything(other) for other in chain if other is not None]
    return "\n".join(lines)


class SecretTest(unittest.IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        self.recorder = Recorder()
        root = logging.getLogger()
        level = root.level
        root.addHandler(self.recorder)
        root.setLevel(logging.DEBUG)
        self.addCleanup(root.removeHandler, self.recorder)
        self.addCleanup(root.setLevel, level)

    def assert_hidden(self, text: str = "") -> None:
        self.assertNotIn("s3cret", text)
        self.assertNotIn("s3cret", "\n".join(self.recorder.lines))

    async def test_the_token_is_sent_and_never_shown(self) -> None:
        async with FakeBridge() as fake:
            async with Bridge(fake.url, token=SECRET, options=FAST) as bridge:
                run = await bridge.execute("p")
                await run
                with self.assertRaises(MethodNotFoundError) as raised:
                    await bridge.list()
                shown = f"{bridge!r} {run!r} {bridge.greeting!r}"
                self.assert_hidden(shown + everything(raised.exception))
            [handshake] = fake.handshakes
            self.assertEqual(handshake.headers["Authorization"], f"Bearer {SECRET}")

    async def test_a_refused_handshake_does_not_show_the_token(self) -> None:
        for status, kind in ((401, UnauthorizedError), (400, RefusedError), (500, ConnectError)):
            async with FakeBridge(Plan(refusals=[(status, {})])) as fake:
                with self.assertRaises(kind) as raised:
                    async with Bridge(fake.url, token=SECRET, options=FAST):
                        pass
                self.assertIn("because of Bearer ***", str(raised.exception))
                self.assert_hidden(everything(raised.exception))
                self.assertEqual(len(fake.handshakes), 1)

    async def test_a_redirect_is_not_followed_with_the_token(self) -> None:
        async with FakeBridge() as other:
            plan = Plan(refusals=[(302, {"Location": other.url})])
            async with FakeBridge(plan) as fake:
                with self.assertRaises(RefusedError):
                    async with Bridge(fake.url, token=SECRET, options=FAST):
                        pass
            self.assertEqual(other.handshakes, [])

    async def test_a_server_that_does_not_answer_does_not_show_the_token(self) -> None:
        async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        server = await asyncio.start_server(wait, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            with self.assertRaises(UnreachableError) as raised:
                async with Bridge(f"ws://127.0.0.1:{port}", token=SECRET, options=FAST):
                    pass
            self.assert_hidden(everything(raised.exception))

    async def test_a_server_that_is_no_bridge_does_not_show_the_token(self) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.read(4096))
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            with self.assertRaises(UnreachableError) as raised:
                async with Bridge(f"ws://127.0.0.1:{port}", token=SECRET, options=FAST):
                    pass
            self.assert_hidden(everything(raised.exception))
            with self.assertRaises(ConnectError) as raised_me:
                async with FakeBridge() as fake, Bridge(fake.url, token=SECRET) as bridge:
                    await bridge.me(f"http://127.0.0.1:{port}")
            self.assert_hidden(everything(raised_me.exception))

    async def test_a_pause_that_is_too_long_is_reported(self) -> None:
        plan = Plan(refusals=[(429, {"Retry-After": "500"})])
        async with FakeBridge(plan) as fake:
            with self.assertRaises(BusyError) as raised:
                async with Bridge(fake.url, token=SECRET, options=FAST):
                    pass
            self.assertEqual(raised.exception.retry_after, 500.0)
            self.assert_hidden(everything(raised.exception))


class TlsTest(unittest.IsolatedAsyncioTestCase):
    certificate: Path
    tls: ssl.SSLContext

    @classmethod
    def setUpClass(cls) -> None:
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.certificate, key = Path(folder.name, "cert.pem"), Path(folder.name, "key.pem")
        command = (
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        )
        names = ["-subj", "/CN=bridge", "-addext", "subjectAltName=IP:127.0.0.1"]
        files = ["-out", str(cls.certificate), "-keyout", str(key)]
        subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)  # noqa: S603
        cls.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        cls.tls.load_cert_chain(cls.certificate, key)

    async def test_a_certificate_of_the_given_file_is_trusted(self) -> None:
        async with FakeBridge(tls=self.tls) as fake:
            bridge = Bridge(fake.url, token=SECRET, ca=self.certificate, options=FAST)
            async with bridge:
                self.assertEqual(await (await bridge.execute("p")).text(), "hello")

    async def test_another_certificate_is_refused_before_the_token_is_sent(self) -> None:
        async with FakeBridge(tls=self.tls) as fake:
            # The server's side of the handshake fails too, which asyncio would log.
            asyncio.get_running_loop().set_exception_handler(lambda *_: None)
            for url in (fake.url, fake.url.replace("127.0.0.1", "localhost")):
                ca = None if url == fake.url else self.certificate
                with self.assertRaises(TlsError) as raised:
                    async with Bridge(url, token=SECRET, ca=ca, options=FAST):
                        pass
                self.assertFalse(raised.exception.is_transient)
            self.assertEqual(fake.handshakes, [])

    async def test_a_port_without_tls_is_named(self) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(4096)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            with self.assertRaisesRegex(TlsError, "needs ws://"):
                async with Bridge(f"wss://127.0.0.1:{port}", token=SECRET, options=FAST):
                    pass

    def test_a_file_without_certificates_is_a_settings_error(self) -> None:
        for path in (__file__, "/nonexistent.pem"):
            with self.assertRaisesRegex(SettingsError, "certificates"):
                Bridge("wss://bridge.example", token=None, ca=path)


if __name__ == "__main__":
    unittest.main()
