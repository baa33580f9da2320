// What stands on the terminal when a run ends: at most 100 columns, plain text, colour only where
// the caller knows that someone is looking. The order is that of importance: can it be trusted,
// what does it say, on what does it rest.

import Model

extension RunResult {
    /// The summary, its last line ended.
    ///
    /// Where the measurement is invalid no latency or cost is claimed: the reasons stand in their
    /// place.
    /// - Parameter colour: Whether to mark verdicts with ANSI colours.
    public func summaryText(colour: Bool) -> String {
        var page = TextPage(colour: colour)
        writeHeadline(to: &page)
        writePhases(to: &page)
        writeFaults(to: &page)
        if validity.valid {
            writeOverheads(to: &page)
            writeCosts(to: &page)
            writeChanges(to: &page)
            writeMissingChanges(to: &page)
            writeFits(to: &page)
        } else {
            page.section("No latency or cost is stated")
            page.paragraph(
                "The measurement is invalid, so its figures would mislead. They are in "
                    + "result.json, for finding out what went wrong.", indent: 2)
        }
        writeExpectations(to: &page)
        writeControls(to: &page)
        return page.text
    }

    private func writeHeadline(to page: inout TextPage) {
        let mark = TextPage.mark(verdict)
        page.line(
            page.coloured(mark + " " + verdict.rawValue.uppercased(), verdict)
                + (partial
                    ? " (partial: \(failure == nil ? "stopped by the user" : "the run failed"))"
                    : "")
                + "  " + printable(scenario.name))
        page.paragraph(
            "\(counted(UInt64(roundCount), "round")), \(span(seconds: durationSeconds)), "
                + "seed \(scenario.seed), "
                + "started \(printable(startedAt))", indent: 2)
        for reason in validity.reasons { page.item("✗", reason, verdict: .invalid) }
        for reason in exit.reasons where !validity.reasons.contains(reason) {
            page.item("•", reason)
        }
        for warning in validity.warnings { page.item("!", warning, verdict: .inconclusive) }
    }

    private func writePhases(to page: inout TextPage) {
        guard !phases.isEmpty else { return }
        page.section("Load")
        page.table(
            header: ["phase", "arm", "offered", "achieved", "planned", "not ok"],
            rows: phases.map { phase in
                [
                    phase.phase, phase.arm.rawValue, Quantity.rate.text(phase.offeredPerSecond),
                    Quantity.rate.text(phase.achievedPerSecond), grouped(phase.planned),
                    grouped(phase.failed),
                ]
            }, textColumns: 2)
    }

    /// What was done on purpose, also where it was not what was asked for.
    private func writeFaults(to page: inout TextPage) {
        guard !faultSummaries.isEmpty else { return }
        page.section("Faults")
        page.table(
            header: ["fault", "arm", "what", "when", "requested", "delivered", "interval"],
            rows: faultSummaries.map {
                [
                    $0.name, $0.arm.rawValue, $0.what, $0.when, $0.requested, $0.delivered,
                    $0.interval,
                ]
            }, textColumns: 4)
    }

    private func writeOverheads(to page: inout TextPage) {
        guard let first = overheads.first else { return }
        let baseline = first.baseline.rawValue
        guard arms.count > 2 else {
            let arm = first.arm.rawValue
            page.section("Overhead: \(arm) less \(baseline), with the \(intervalTitle) over rounds")
            page.table(
                header: ["phase", "metric", baseline, arm, "overhead", intervalTitle],
                rows: overheads.map { overhead in
                    let quantity = Quantity(unit: overhead.unit)
                    return [
                        overhead.phase, overhead.metric,
                        quantity.value(of: overhead.baselineValue),
                        quantity.value(of: overhead.value),
                        quantity.value(of: overhead.difference, signed: true),
                        quantity.interval(of: overhead.difference) ?? "none",
                    ]
                }, textColumns: 2)
            return
        }
        writeDifferences(
            overheads, "Overhead: each arm less \(baseline), with the \(intervalTitle) over rounds",
            to: &page)
        writeDifferences(
            steps, "Steps: each arm less the one before it, with the \(intervalTitle) over rounds",
            to: &page)
    }

    private func writeDifferences(
        _ differences: [Overhead], _ title: String, to page: inout TextPage
    ) {
        guard !differences.isEmpty else { return }
        page.section(title)
        page.table(
            header: ["phase", "metric", "arm", "adds", intervalTitle],
            rows: differences.map { difference in
                let quantity = Quantity(unit: difference.unit)
                return [
                    difference.phase, difference.metric, difference.arm.rawValue,
                    quantity.value(of: difference.difference, signed: true),
                    quantity.interval(of: difference.difference) ?? "none",
                ]
            }, textColumns: 3)
    }

    private func writeCosts(to page: inout TextPage) {
        // With one arm that has proxies their names say enough.
        let isOne = arms.count { $0.via == .mesh } + (controls ?? []).count < 2
        let rows = phases.flatMap { phase in
            phase.processes.filter { $0.group == .proxies }.map { process in
                [phase.phase] + (isOne ? [] : [phase.arm.rawValue]) + [
                    process.name,
                    process.cpuPer1000rpsCores.map { Quantity.cores.value(of: $0) } ?? "none",
                    process.cpuPer1000rpsCores.flatMap { Quantity.cores.interval(of: $0) }
                        ?? "none",
                    process.proportionalBytes.map { Quantity.bytes.text(Double($0)) } ?? "–",
                ]
            }
        }
        guard !rows.isEmpty else { return }
        page.section("Cost of each proxy, per 1000 requests/s of the whole arm")
        page.table(
            header: ["phase"] + (isOne ? [] : ["arm"])
                + ["process", "CPU", intervalTitle, "memory (PSS)"],
            rows: rows, textColumns: isOne ? 2 : 3)
    }

    private func writeChanges(to page: inout TextPage) {
        let pushes = phases.compactMap { phase in
            phase.configPush.map { (phase: phase, push: $0) }
        }
        guard !pushes.isEmpty else { return }
        page.section("Changes of the mesh, until the last proxy had them in force")
        page.table(
            header: ["phase", "arm", "changes", "mean", "longest"],
            rows: pushes.map { phase, push in
                [
                    phase.phase, phase.arm.rawValue, grouped(push.count),
                    Quantity.time.text(push.meanNs), Quantity.time.text(Double(push.maxNs)),
                ]
            }, textColumns: 2)
    }

    /// Where one of them was not made, or is not in force.
    private func writeMissingChanges(to page: inout TextPage) {
        let arms = Set(changeSummaries.map(\.arm))
        let lines = changeSummaries.compactMap { change in
            change.complaint.map {
                (arms.count > 1 ? "\(change.arm.rawValue): " : "") + "\(change.what): \($0)"
            }
        }
        guard !lines.isEmpty else { return }
        page.section("Changes of the mesh that were not there by the end")
        for line in lines { page.line("  " + line) }
    }

    private func writeFits(to page: inout TextPage) {
        guard !fits.isEmpty else { return }
        page.section("Cost against rate")
        page.table(
            header: ["arm", "process", "idle", intervalTitle, "per 1000 rps", intervalTitle],
            rows: fits.map { fit in
                [
                    fit.arm.rawValue, fit.process, Quantity.cores.value(of: fit.idleCores),
                    Quantity.cores.interval(of: fit.idleCores) ?? "none",
                    Quantity.cores.value(of: fit.marginalPer1000rpsCores),
                    Quantity.cores.interval(of: fit.marginalPer1000rpsCores) ?? "none",
                ]
            }, textColumns: 2)
    }

    private func writeExpectations(to page: inout TextPage) {
        guard !expectations.isEmpty else { return }
        page.section("Expectations")
        for expectation in expectations {
            page.item(
                TextPage.mark(expectation.verdict), expectation.titledSource,
                verdict: expectation.verdict)
            guard validity.valid && expectation.verdict != .invalid else {
                page.paragraph(
                    "not judged: "
                        + (expectation.reason.isEmpty
                            ? "the measurement is invalid" : expectation.reason),
                    indent: 6)
                continue
            }
            var finding = "observed \(expectation.observed)"
            if let interval = expectation.interval {
                let confidence = expectation.confidence.map { ", \(confidenceText($0))" } ?? ""
                finding += " (\(interval)\(confidence))"
            }
            finding += ", \(counted(expectation.samples, "sample"))"
            if expectation.isByTheory { finding += "; expected \(expectation.expected)" }
            if !expectation.reason.isEmpty { finding += ": " + expectation.reason }
            page.paragraph(finding, indent: 6)
        }
    }
}

extension RunResult {
    /// `95 % interval`: what the intervals over rounds are called. They all have one confidence,
    /// which follows from the number of rounds.
    var intervalTitle: String {
        intervalConfidence.map { confidenceText($0) + " interval" } ?? "interval"
    }

    /// Of the intervals over rounds, 0 to 1; nil where there are none.
    var intervalConfidence: Double? {
        overheads.lazy.compactMap(\.difference.confidence).first
            ?? expectations.lazy.compactMap(\.confidence).first
            ?? phases.lazy.flatMap(\.processes).compactMap(\.cpuPer1000rpsCores?.confidence).first
    }

    /// Rounds that count.
    var countedRounds: Int {
        let setAside = Set(rounds.filter { !$0.invalid.isEmpty }.map(\.round))
        return Set(rounds.map(\.round)).subtracting(setAside).count
    }

    /// Rounds of which anything was recorded.
    var roundCount: Int { Set(rounds.map(\.round)).count }
}

extension RunResult.PhaseResult {
    /// Planned requests that did not end in `ok`.
    var failed: UInt64 {
        let ok = outcomes[Outcome.ok.rawValue] ?? 0
        return planned > ok ? planned - ok : 0
    }
}

/// `95 %`, `87.5 %`.
func confidenceText(_ confidence: Double) -> String {
    let percent = confidence * 100
    return fixed(percent, percent == percent.rounded() ? 0 : 1) + " %"
}
