// What a page of the services' own origin does: it requests a ticket with its token, opens a session with the ticket, and
// runs a prompt. TOKEN and PROMPT are replaced.
(async () => {
  const requested = await fetch("/ws-ticket", { method: "POST", headers: { Authorization: "Bearer TOKEN" } });
  if (!requested.ok) return { ticket: requested.status, detail: await requested.text() };
  const { ticket } = await requested.json();
  const open = () => new WebSocket(`wss://${location.host}/ws`, ["ccb.v1", `ccb.ticket.${ticket}`]);
  const session = await new Promise((done, failed) => {
    const socket = open();
    let output = "";
    socket.onerror = () => failed(new Error("the session was refused"));
    socket.onmessage = (event) => {
      const { method, params, error } = JSON.parse(event.data);
      if (error) failed(new Error(error.message));
      if (method === "connected") {
        socket.send(JSON.stringify({ jsonrpc: "2.0", id: 1, method: "execute", params: { prompt: "PROMPT" } }));
      } else if (method === "output") {
        output += params.content;
      } else if (method === "statusUpdate" && params.endedAt) {
        socket.close();
        done({ output, status: params.status, protocol: socket.protocol });
      }
    };
  });
  const again = await new Promise((done) => {
    const socket = open();
    socket.onopen = () => done("opened");
    socket.onerror = () => done("refused");
  });
  return { ticket: requested.status, ...session, again };
})()
