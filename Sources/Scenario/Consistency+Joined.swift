// What proxies that join a control plane cannot do, and those with files can. A scenario that asks
// for it has to say that it means these: which of them it was must never be left to guesses.

import Base
import Model

/// What to write to have it all the same.
private let otherwise = "or write mesh: {control: false}"

extension Consistency {
    /// - Precondition: there is a control plane.
    func checkJoined(_ decoding: inout Decoding) {
        let arms = draft.arms.value.filter { $0.via == .mesh }
        switch draft.mesh.mode {
        case .sidecar:
            for arm in arms {
                checkHop(of: arm, &decoding)
                draft.loads.forEach { checkSecurity(of: $0, arm, &decoding) }
            }
        case .gateway:
            for arm in arms { checkEntrance(of: arm, &decoding) }
            checkUnguarded(&decoding)
        }
        checkNames(&decoding)
    }

    // MARK: Beside processes

    /// What is spoken between them follows from the mesh: HTTP/2 within mutual TLS, and in
    /// cleartext what the service's process speaks.
    private func checkHop(of arm: ArmDraft, _ decoding: inout Decoding) {
        guard let written = arm.hop.speech ?? draft.mesh.hop.speech,
            written.place.source != .standard
        else { return }
        let mode = (arm.hopSecurity ?? draft.mesh.hopSecurity).value
        guard mode == .off else {
            guard written.value == .http1 else { return }
            return decoding.report(
                written.place,
                "proxies that join speak HTTP/2 with each other within mutual TLS: leave this out, "
                    + otherwise)
        }
        let called =
            draft.loads.compactMap(\.to?.value)
            + draft.services.flatMap { $0.calls.map(\.value) }
        for service in called {
            let spoken = draft.loads.filter { $0.to?.value == service }
                .map { arm.speech?.value ?? $0.speech }
            if spoken.contains(.tcp)
                || spoken.contains(where: \.isHTTP2) == (written.value == .http2)
            {
                continue
            }
            return decoding.report(
                written.place,
                "proxies that join speak in cleartext what the service does, and '\(service)' "
                    + "does not speak \(written.value.rawValue): leave this out, " + otherwise)
        }
    }

    private func checkSecurity(
        of load: LoadDraft, _ arm: ArmDraft, _ decoding: inout Decoding
    ) {
        guard let place = arm.security?.place ?? load.to?.place,
            (arm.security?.value ?? load.security) != .off
        else { return }
        decoding.report(
            place,
            "the proxy beside '\(load.name?.value ?? "")' joins a control plane, and takes its "
                + "process's requests in cleartext: write tls: off, " + otherwise)
    }

    // MARK: Before them

    /// All that comes in is shown one certificate.
    private func checkEntrance(of arm: ArmDraft, _ decoding: inout Decoding) {
        let modes = Set(draft.loads.map { arm.security?.value ?? $0.security })
        guard modes.count > 1, let place = draft.loads.last?.to?.place else { return }
        decoding.report(
            place,
            "a gateway that joins shows all loads the same: give them the same tls, " + otherwise)
    }

    /// Nobody stands beside the services who could deny anything.
    private func checkUnguarded(_ decoding: inout Decoding) {
        let applied = draft.phases.value.flatMap(\.changes).flatMap { $0.apply ?? [] }
            .filter { $0.value.key.kind == .authorization }
        for place in draft.authorizations.map(\.node.place) + applied.map(\.node.place) {
            decoding.report(
                place, "with mode: gateway no proxy stands beside a service, to deny anything")
        }
        let loaded = draft.loads.compactMap(\.to?.value)
        for drain in draft.phases.value.flatMap(\.changes)
            .flatMap({ [$0.drain, $0.undrain].compactMap(\.self) })
        where !loaded.contains(drain.value.service) {
            decoding.report(
                drain.place, "the gateway sends nothing to '\(drain.value.service)': no load does")
        }
    }

    // MARK: Names

    /// Services, loads and proxies have names in the mesh, which are labels of DNS.
    private func checkNames(_ decoding: inout Decoding) {
        let services = draft.services.compactMap(\.name)
        let loads = draft.mesh.mode == .sidecar ? draft.loads.compactMap(\.name) : []
        let names =
            services.map { ($0, $0.value) }
            + loads.map { ($0, LoadPlan.identity(of: $0.value)) }
        for (name, text) in names where !MeshName.isLabel(text + "-63") {
            decoding.report(
                name.place,
                "'\(text)' cannot name a service of a mesh: at most \(MeshLimits.nameBytes - 3) "
                    + "letters, digits and hyphens, no hyphen at its beginning; " + otherwise)
        }
        for load in loads {
            let identity = LoadPlan.identity(of: load.value)
            guard let service = services.first(where: { $0.value == identity }) else { continue }
            decoding.report(
                load.place,
                "in the mesh the load '\(load.value)' is called '\(service.value)', as a service "
                    + "is already; " + otherwise)
        }
        guard draft.mesh.mode == .gateway else { return }
        for name in services where name.value == Experiment.gatewayName {
            decoding.report(
                name.place, "in the mesh the gateway is called '\(name.value)' too; " + otherwise)
        }
    }
}
