// The keys of `tls`, wherever it stands.

import Model

extension Shape where Whole == ServerTLS {
    static var server: Shape {
        Shape(
            ServerTLS(certificate: "", key: ""),
            [
                .init(
                    "certificate", \.certificate, .text(atMost: 4096), isRequired: true,
                    about: "a PEM file: the leaf, then the intermediates"),
                .init(
                    "key", \.key, .text(atMost: 4096), isRequired: true,
                    about: "a PEM file with the leaf's private key"),
                .init(
                    "certificates", \.certificates,
                    list(of: Shape<ServerTLS.Identity>.identity.form, 0...256), standard: "[]",
                    about:
                        "further ones, each for whoever asks for one of its DNS names (SNI); "
                        + "`certificate` is for all others"),
                .init(
                    "authorities", \.authorities, Form<String>.text(atMost: 4096).optional,
                    about: "a PEM file: who may vouch for clients"),
                .init(
                    "client_certificate", \.clientCertificate, .choice, standard: "none",
                    about: "whether a client shows a certificate"),
                .init(
                    "client_names", \.clientNames, .certificateNames, standard: "[]",
                    about:
                        """
                        names of which a client's certificate must carry one (DNS or URI); \
                        empty: any
                        """
                ),
                .init(
                    "min_version", \.minimumVersion, .choice, standard: "'1.2'",
                    about: "the least version of TLS"),
            ])
    }
}

extension Shape where Whole == ServerTLS.Identity {
    fileprivate static var identity: Shape {
        Shape(
            ServerTLS.Identity(certificate: "", key: ""),
            [
                .init(
                    "certificate", \.certificate, .text(atMost: 4096), isRequired: true,
                    about: "a PEM file: the leaf, then the intermediates"),
                .init(
                    "key", \.key, .text(atMost: 4096), isRequired: true,
                    about: "a PEM file with the leaf's private key"),
            ])
    }
}

extension Shape where Whole == ClientTLS {
    static var client: Shape {
        Shape(
            ClientTLS(),
            [
                .init(
                    "authorities", \.authorities, Form<String>.text(atMost: 4096).optional,
                    about: "a PEM file: who may vouch for the server; absent: the system's"),
                .init(
                    "certificate", \.certificate, Form<String>.text(atMost: 4096).optional,
                    about: "a PEM file: the certificate that is shown, leaf first"),
                .init(
                    "key", \.key, Form<String>.text(atMost: 4096).optional, .with("certificate"),
                    about: "a PEM file with its private key"),
                .init(
                    "server_name", \.serverName, Form<String>.text(atMost: 253).optional,
                    about: "the name asked for (SNI)"),
                .init(
                    "names", \.names, .certificateNames, standard: "[]",
                    about:
                        """
                        names of which the server's certificate must carry one (DNS or URI); \
                        empty: `server_name`, or else the endpoint's address
                        """
                ),
                .init(
                    "min_version", \.minimumVersion, .choice, standard: "'1.2'",
                    about: "the least version of TLS"),
            ])
    }
}

extension Form where Value == [String] {
    fileprivate static var certificateNames: Form {
        list(of: Form<String>.text(atMost: 2048), 0...64)
    }
}
