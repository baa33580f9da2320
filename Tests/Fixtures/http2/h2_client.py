"""The `h2` package as a client: a codec of HTTP/2 that is not nghttp2, strict about what it is sent.

    h2_client.py HOST:PORT

Twenty requests at once on one connection with bodies both ways, one that is taken back in the
middle, and trailers; what comes must be whole, and h2 must find nothing wrong with it. Prints `ok`.
"""
import socket
import sys

import h2.config
import h2.connection
import h2.events
import h2.settings

BODY = bytes(i * 7 % 251 for i in range(200_000))
TAKEN_BACK = 5


def main():
    host, port = sys.argv[1].rsplit(":", 1)
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    connection.initiate_connection()
    connection.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 20_000})
    with socket.create_connection((host, int(port)), timeout=20) as peer:
        exchange(connection, peer)
    print("ok")


def exchange(connection, peer):
    # Of each stream what is still to be sent, and what has come.
    left, status, bodies, ended = {}, {}, {}, set()
    for _ in range(20):
        stream = connection.get_next_available_stream_id()
        connection.send_headers(stream, [
            (":method", "POST"), (":scheme", "http"), (":authority", "h2.test"),
            (":path", "/echo"), ("accept", "text/plain"), ("x-stream", str(stream))])
        left[stream] = BODY
        bodies[stream] = b""
    connection.reset_stream(TAKEN_BACK, 8)
    del left[TAKEN_BACK]
    while len(ended) < 19:
        for stream in list(left):
            send(connection, stream, left)
        peer.sendall(connection.data_to_send())
        data = peer.recv(65536)
        assert data, "the connection ended"
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                status[event.stream_id] = dict(event.headers)[":status"]
            elif isinstance(event, h2.events.DataReceived):
                bodies[event.stream_id] += event.data
                connection.acknowledge_received_data(
                    event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                ended.add(event.stream_id)
            elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
                raise AssertionError(f"{event}")
    assert TAKEN_BACK not in ended
    for stream in ended:
        assert status[stream] == "200", status
        head, _, body = bodies[stream].partition(b"\r\n\r\n")
        assert body == BODY, f"stream {stream}: {len(body)} bytes"
        assert f"x-stream: {stream}".encode() in head.lower(), head
    connection.close_connection()
    peer.sendall(connection.data_to_send())


def send(connection, stream, left):
    """What windows let go, with trailers behind it."""
    while left[stream]:
        room = min(connection.local_flow_control_window(stream),
                   connection.max_outbound_frame_size)
        if room == 0:
            return
        connection.send_data(stream, left[stream][:room])
        left[stream] = left[stream][room:]
    connection.send_headers(stream, [("x-sum", "1")], end_stream=True)
    del left[stream]


main()
