// nghttp2's callbacks, each passed on to the session that it belongs to.

import Base
import CNghttp2

enum HTTP2Callbacks {
    // Safety: made once, never written again; the library only reads it.
    nonisolated(unsafe) static let table: OpaquePointer = unsafe makeTable()
    static let provider: nghttp2_data_provider = unsafe makeProvider()

    /// To be freed by whoever asks.
    static func options(_ settings: HTTP2Settings) -> OpaquePointer {
        var made: OpaquePointer?
        guard unsafe nghttp2_option_new(&made) == 0, let made = unsafe made else {
            preconditionFailure("no memory for options")
        }
        unsafe nghttp2_option_set_no_auto_window_update(made, 1)
        unsafe nghttp2_option_set_no_closed_streams(made, 1)
        unsafe nghttp2_option_set_max_outbound_ack(made, settings.acknowledgements)
        unsafe nghttp2_option_set_max_continuations(made, settings.continuations)
        // The library's own limit has a clock of its own, and would cut off whoever gives up a
        // thousand requests: how many a peer may give up is the owner's to say, in `resetReceived`.
        unsafe nghttp2_option_set_stream_reset_rate_limit(made, 1 << 40, 1 << 40)
        unsafe nghttp2_option_set_max_send_header_block_length(made, 256 * 1024)
        unsafe nghttp2_option_set_peer_max_concurrent_streams(made, 100)
        return unsafe made
    }

    private static func session(_ data: UnsafeMutableRawPointer?) -> HTTP2Session {
        guard let data = unsafe data else { preconditionFailure("a callback without a session") }
        return unsafe Unmanaged<HTTP2Session>.fromOpaque(data).takeUnretainedValue()
    }

    private static func bytes(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Bytes {
        unsafe Bytes(UnsafeRawBufferPointer(start: start, count: count))
    }

    private static func makeProvider() -> nghttp2_data_provider {
        unsafe nghttp2_data_provider(
            source: nghttp2_data_source(fd: 0),
            read_callback: { _, stream, _, limit, flags, _, data in
                let session = unsafe HTTP2Callbacks.session(data)
                let tag = session.tag(of: stream)
                guard tag >= 0 else { return Int(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue) }
                let noCopy = NGHTTP2_DATA_FLAG_NO_COPY.rawValue
                let end = NGHTTP2_DATA_FLAG_EOF.rawValue
                switch session.provide(tag, stream, limit: limit) {
                case .bytes(let count, let isLast):
                    unsafe flags?.pointee = isLast ? noCopy | end : noCopy
                    return count
                case .trailers(let count):
                    unsafe flags?.pointee =
                        noCopy | end | NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue
                    return count
                case .nothing: return Int(NGHTTP2_ERR_DEFERRED.rawValue)
                case .failed: return Int(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue)
                }
            })
    }

    private static func makeTable() -> OpaquePointer {
        var made: OpaquePointer?
        guard unsafe nghttp2_session_callbacks_new(&made) == 0, let made = unsafe made else {
            preconditionFailure("no memory for callbacks")
        }
        unsafe setSending(made)
        unsafe setSent(made)
        unsafe setHeads(made)
        unsafe setStreams(made)
        unsafe setFrames(made)
        return unsafe made
    }

    private static func setSending(_ table: OpaquePointer) {
        unsafe nghttp2_session_callbacks_set_send_data_callback(table) {
            _, frame, header, count, _, data in
            let session = unsafe HTTP2Callbacks.session(data)
            guard let stream = unsafe frame?.pointee.hd.stream_id else { return 0 }
            let tag = session.tag(of: stream)
            // Let go since the frame was begun: there are no bytes for it any more.
            guard tag >= 0 else { return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue }
            let written = session.writeData(
                tag, header: unsafe HTTP2Callbacks.bytes(header, 9), count: count)
            session.hasWrittenData = written
            // After each the room is looked at anew: what follows may be another kind of frame.
            return written ? NGHTTP2_ERR_PAUSE.rawValue : NGHTTP2_ERR_WOULDBLOCK.rawValue
        }
    }

    private static func setSent(_ table: OpaquePointer) {
        unsafe nghttp2_session_callbacks_set_on_frame_send_callback(table) { _, frame, data in
            if let frame = unsafe frame, unsafe frame.pointee.hd.type == NGHTTP2_GOAWAY.rawValue {
                unsafe HTTP2Callbacks.session(data).goawaySent(
                    HTTP2Code(code: frame.pointee.goaway.error_code))
            }
            guard let header = unsafe frame?.pointee.hd,
                header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0,
                header.type == NGHTTP2_DATA.rawValue || header.type == NGHTTP2_HEADERS.rawValue
            else { return 0 }
            let session = unsafe HTTP2Callbacks.session(data)
            let tag = session.tag(of: header.stream_id)
            if tag >= 0 { session.endSent(header.stream_id, tag: tag) }
            return 0
        }
    }

    private static func setHeads(_ table: OpaquePointer) {
        unsafe nghttp2_session_callbacks_set_on_begin_frame_callback(table) { _, header, data in
            if let header = unsafe header?.pointee, header.type == NGHTTP2_HEADERS.rawValue {
                unsafe HTTP2Callbacks.session(data).headersBegin(header.stream_id)
            }
            return 0
        }
        unsafe nghttp2_session_callbacks_set_on_begin_headers_callback(table) { _, frame, data in
            let session = unsafe HTTP2Callbacks.session(data)
            guard let stream = unsafe frame?.pointee.hd.stream_id else { return 0 }
            session.headBegan(stream, tag: session.tag(of: stream))
            return 0
        }
        unsafe nghttp2_session_callbacks_set_on_header_callback(table) {
            _, frame, name, nameLength, value, valueLength, _, data in
            let session = unsafe HTTP2Callbacks.session(data)
            guard let stream = unsafe frame?.pointee.hd.stream_id else { return 0 }
            let fits = session.field(
                stream, tag: session.tag(of: stream),
                unsafe HTTP2Callbacks.bytes(name, nameLength),
                unsafe HTTP2Callbacks.bytes(value, valueLength))
            if fits { return 0 }
            session.headAbandoned(stream)
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue
        }
        // A field that may not be makes the whole message malformed (RFC 9113, 8.2.1), where the
        // library would pass it over.
        unsafe nghttp2_session_callbacks_set_on_invalid_header_callback(table) {
            _, frame, _, _, _, _, _, data in
            let session = unsafe HTTP2Callbacks.session(data)
            guard let stream = unsafe frame?.pointee.hd.stream_id else { return 0 }
            session.invalidFrame()
            session.headAbandoned(stream)
            session.reset(stream, .protocolError)
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue
        }
    }

    private static func setStreams(_ table: OpaquePointer) {
        unsafe nghttp2_session_callbacks_set_on_data_chunk_recv_callback(table) {
            _, _, stream, start, count, data in
            let session = unsafe HTTP2Callbacks.session(data)
            session.consumeConnection(count)
            let tag = session.tag(of: stream)
            guard tag >= 0 else {
                session.consume(stream, count)
                return 0
            }
            session.data(stream, tag: tag, unsafe HTTP2Callbacks.bytes(start, count))
            return 0
        }
        unsafe nghttp2_session_callbacks_set_on_stream_close_callback(table) {
            _, stream, code, data in
            let session = unsafe HTTP2Callbacks.session(data)
            let tag = session.tag(of: stream)
            if tag >= 0 { session.streamClosed(stream, tag: tag, HTTP2Code(code: code)) }
            return 0
        }
    }

    private static func setFrames(_ table: OpaquePointer) {
        unsafe nghttp2_session_callbacks_set_on_frame_recv_callback(table) { _, frame, data in
            guard let frame = unsafe frame else { return 0 }
            unsafe HTTP2Callbacks.received(frame, HTTP2Callbacks.session(data))
            return 0
        }
        unsafe nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(table) {
            _, _, _, data in
            unsafe HTTP2Callbacks.session(data).invalidFrame()
            return 0
        }
    }

    private static func received(_ frame: UnsafePointer<nghttp2_frame>, _ session: HTTP2Session) {
        let header = unsafe frame.pointee.hd
        let stream = header.stream_id
        let endsStream = header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
        let isAnswer = header.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) != 0
        switch nghttp2_frame_type(UInt32(header.type)) {
        case NGHTTP2_DATA:
            session.frameReceived(isEmpty: header.length == 0 && !endsStream)
            if endsStream { session.streamEnded(stream, tag: session.tag(of: stream)) }
        case NGHTTP2_HEADERS:
            session.frameReceived(isEmpty: header.length == 0 && !endsStream)
            session.headEnded(stream, tag: session.tag(of: stream), endsStream: endsStream)
            // The head may have made the stream known.
            if endsStream { session.streamEnded(stream, tag: session.tag(of: stream)) }
        case NGHTTP2_RST_STREAM:
            session.resetReceived(stream, tag: session.tag(of: stream))
        case NGHTTP2_GOAWAY:
            unsafe session.goawayReceived(
                last: frame.pointee.goaway.last_stream_id,
                HTTP2Code(code: frame.pointee.goaway.error_code))
        case NGHTTP2_SETTINGS where !isAnswer:
            session.settingsReceived()
            session.frameReceived(isEmpty: true)
        case NGHTTP2_PING where isAnswer:
            unsafe session.pingAnswered(frame.pointee.ping.opaque_data.0)
            session.frameReceived(isEmpty: true)
        default: session.frameReceived(isEmpty: true)
        }
    }
}
