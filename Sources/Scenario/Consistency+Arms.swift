// What an arm and its loads may say together: that there is a mesh to go through, that there is a
// hop to say something of, and that everyone who meets at a service speaks the same.

import Model

/// Requests at once of one load: as many as the generator has places for.
private let mostRequests = 262_144

extension Consistency {
    func checkArms(_ decoding: inout Decoding) {
        refuseDuplicates(draft.arms.value.map(\.name), "an arm", &decoding)
        for arm in draft.arms.value {
            guard let name = arm.name else { continue }
            let place = name.place.source == .standard ? root : name.place
            if let way = ArmPlan.Way(rawValue: name.value), way != arm.via {
                decoding.report(
                    place,
                    "an arm called '\(name.value)' that goes the other way would mislead: name it "
                        + "otherwise, or write via: \(name.value)")
            }
            if draft.mesh.dataplane == .none, arm.via == .mesh {
                decoding.report(
                    place,
                    "the arm '\(name.value)' needs a mesh: with dataplane: none write "
                        + "arms: [direct]")
            }
            for place in arm.hopPlaces where arm.via == .direct {
                decoding.report(
                    place, "the arm '\(name.value)' goes direct: there are no two proxies on it")
            }
        }
        guard draft.mesh.mode == .gateway else { return }
        let mesh = [
            draft.mesh.hop.speech?.place, draft.mesh.hop.connections?.place,
            draft.mesh.hopSecurity.place,
        ].compactMap(\.self)
        let arms = draft.arms.value.filter { $0.via == .mesh }.flatMap(\.hopPlaces)
        for place in mesh + arms where place.source != .standard {
            decoding.report(
                place, "with mode: gateway no two proxies follow each other: leave this out")
        }
    }

    func checkSpeech(_ decoding: inout Decoding) {
        draft.loads.forEach { checkStreams(of: $0, &decoding) }
        // An arm without a name was reported already.
        for arm in draft.arms.value where arm.name != nil {
            for load in draft.loads {
                checkCommand(of: load, arm, &decoding)
                checkCompany(of: load, arm, &decoding)
                checkHop(of: load, arm, &decoding)
            }
        }
    }

    /// Streams that no arm would use.
    private func checkStreams(of load: LoadDraft, _ decoding: inout Decoding) {
        let arms = draft.arms.value
        let isUsed = arms.contains { ($0.speech?.value ?? load.speech).hasStreams }
        if load.streams.value > 1, !isUsed {
            decoding.report(
                load.streams.place,
                "\(load.speech.rawValue) has one request at a time on a connection")
        }
        for arm in arms {
            let speech = arm.speech?.value ?? load.speech
            let streams = arm.streams ?? load.streams
            let connections = arm.connections?.value ?? load.connections.value
            if speech.hasStreams, streams.value * connections > mostRequests {
                decoding.report(
                    streams.place.source == .standard ? place(of: load, arm) : streams.place,
                    "\(connections) connections with \(streams.value) requests each are more than "
                        + "\(mostRequests) at once")
            }
            guard arm.streams != nil, streams.value > 1, !speech.hasStreams else { continue }
            decoding.report(
                streams.place, "\(speech.rawValue) has one request at a time on a connection")
        }
    }

    /// What a program of the user's speaks is the user's: the run's certificates are not known to
    /// it.
    private func checkCommand(of load: LoadDraft, _ arm: ArmDraft, _ decoding: inout Decoding) {
        let service = draft.services.first { $0.name?.value == load.to?.value }
        guard service?.command != nil, arm.via == .direct,
            (arm.security?.value ?? load.security) != .off
        else { return }
        decoding.report(
            place(of: load, arm),
            "the service '\(load.to?.value ?? "")' is a command, which does not have the run's "
                + "certificate: in the arm '\(arm.name?.value ?? "")' write tls: off")
    }

    /// A service has one address, on which bytes and requests, or TLS and cleartext, cannot be
    /// told apart.
    private func checkCompany(of load: LoadDraft, _ arm: ArmDraft, _ decoding: inout Decoding) {
        guard let to = load.to?.value else { return }
        let isBytes = (arm.speech?.value ?? load.speech) == .tcp
        let isCalled = draft.services.contains { $0.calls.contains { $0.value == to } }
        let others = draft.loads.prefix { $0.name?.value != load.name?.value }
            .filter { $0.to?.value == to }
        if isBytes, isCalled {
            decoding.report(
                place(of: load, arm), "the service '\(to)' is called over HTTP by others, not TCP")
        }
        let isSecured = (arm.security?.value ?? load.security) != .off
        if isSecured, isCalled, arm.via == .direct || draft.mesh.mode == .gateway {
            decoding.report(
                place(of: load, arm),
                "the service '\(to)' is called in cleartext by others: in the arm "
                    + "'\(arm.name?.value ?? "")' write tls: off")
        }
        for other in others {
            if isBytes != ((arm.speech?.value ?? other.speech) == .tcp) {
                decoding.report(
                    place(of: load, arm),
                    "another load speaks to '\(to)' what cannot be told apart from this: give each "
                        + "a service of its own")
            }
            if (arm.security?.value ?? load.security) != (arm.security?.value ?? other.security) {
                decoding.report(
                    place(of: load, arm), "another load of '\(to)' has another tls: they must agree"
                )
            }
        }
    }

    /// gRPC ends with trailers and cannot do without HTTP/2.
    private func checkHop(of load: LoadDraft, _ arm: ArmDraft, _ decoding: inout Decoding) {
        guard (arm.speech?.value ?? load.speech) == .grpc, arm.via == .mesh,
            draft.mesh.mode == .sidecar, draft.mesh.plan(in: arm).speech == .http1
        else { return }
        decoding.report(
            place(of: load, arm), "gRPC needs HTTP/2 between proxies too: hop: {protocol: http2}")
    }

    private func place(of load: LoadDraft, _ arm: ArmDraft) -> Place {
        arm.speech?.place ?? arm.security?.place ?? load.to?.place ?? root
    }
}

extension MeshDraft {
    fileprivate func plan(in arm: ArmDraft) -> HopPlan {
        HopPlan(speech: arm.hop.speech?.value ?? plan.hop.speech)
    }
}

extension LoadPlan.Speech {
    /// Whether a connection carries several requests at once.
    fileprivate var hasStreams: Bool { self != .http1 }
}
