// One stream of news for all tabs of this browser: it allows six connections to a server, and the seventh hangs.
// It is open while at least one of the tabs can be seen.

const seen = new Set(); // the ports of tabs that can be seen
let source = null;

const tell = (word) => { for (const port of seen) port.postMessage(word); };

function listen(address) {
  if (seen.size && !source) {
    source = new EventSource(address);
    source.onmessage = (event) => tell(event.data);
    source.onerror = () => tell("lost");
  } else if (!seen.size && source) {
    source.close();
    source = null;
  }
}

self.onconnect = ({ ports: [port] }) => {
  port.onmessage = ({ data: { visible, address } }) => {
    if (visible) seen.add(port); else seen.delete(port);
    listen(address);
  };
};
