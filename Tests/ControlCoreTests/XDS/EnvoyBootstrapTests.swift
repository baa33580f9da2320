import FoundationEssentials
import Model
import Testing

@testable import ControlCore

private func node(_ text: String) throws -> JSONNode {
    try JSONDecoder().decode(JSONNode.self, from: Data(text.utf8))
}

@Suite struct EnvoyBootstrapTests {
    @Test func whatEnvoyIsStartedWithSaysWhoItIsAndWhomToAsk() throws {
        let bootstrap = EnvoyBootstrap(
            proxy: "web-1", facts: envoyFacts,
            servers: ["127.0.0.1:7071", "[::1]:7072"].compactMap(NumericAddress.init),
            authoritiesFile: "/etc/envoy/authorities.json", trustDomain: "meshbench.test")
        let document = try node(bootstrap.json)
        #expect(document["node"]["id"].text == "web-1")
        #expect(document["node"]["cluster"].text == "shop/web")
        let facts = document["node"]["metadata"]["meshbench"]
        #expect(facts["app"].text == "127.0.0.1:8080")
        #expect(facts["outbound"].text == "[::1]:15001")
        #expect(facts["workers"].number == 2)
        #expect(facts["identity_file"].text == "/etc/envoy/identity.json")
        #expect(document["admin"] == .absent)
        let control = document["static_resources"]["clusters"][0]
        let places = control["load_assignment"]["endpoints"].items
        // The first that answers is asked for all.
        #expect(places.map { $0["priority"].number } == [0, 1])
        let last = places[1]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]
        #expect(last["address"].text == "::1" && last["port_value"].number == 7072)
        let security = control["transport_socket"]["typed_config"]["common_tls_context"]
        let validation = security["combined_validation_context"]
        let names = validation["default_validation_context"]["match_typed_subject_alt_names"]
        #expect(names[0]["matcher"]["exact"].text == "spiffe://meshbench.test/control")
        let authorities = validation["validation_context_sds_secret_config"]["sds_config"]
        #expect(
            authorities["path_config_source"]["path"].text == "/etc/envoy/authorities.json")
        for kind in ["cds_config", "lds_config"] {
            let source = document["dynamic_resources"][kind]["api_config_source"]
            #expect(source["cluster_names"][0].text == control["name"].text)
        }
    }

    @Test func keyAndCertificateAreOneFile() throws {
        let text = EnvoyBootstrap.identity(certificate: "chain\n", key: "key\n")
        let secret = try node(text)["resources"][0]
        #expect(secret["name"].text == "identity")
        let identity = secret["tls_certificate"]
        #expect(identity["certificate_chain"]["inline_string"].text == "chain\n")
        #expect(identity["private_key"]["inline_string"].text == "key\n")
        let trusted = try node(EnvoyBootstrap.authorities("roots\n"))["resources"][0]
        let context = trusted["validation_context"]["trusted_ca"]
        #expect(context["inline_string"].text == "roots\n")
    }
}
