#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

// What OpenSSL gives as macros with casts, as variadic functions or as unions, which Swift does not
// import.

static inline uint64_t mb_ssl_options(void) {
    return SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE;
}

static inline void mb_set_server_name_callback(
    SSL_CTX *context, int (*callback)(SSL *, int *, void *)) {
    SSL_CTX_set_tlsext_servername_callback(context, callback);
}

static inline EVP_PKEY *mb_p256_key(void) { return EVP_EC_gen("P-256"); }

static inline int mb_general_name_count(const GENERAL_NAMES *names) {
    return sk_GENERAL_NAME_num(names);
}

// The text of the `index`th name if it is of `type` (GEN_DNS or GEN_URI); NULL if not.
static inline const ASN1_IA5STRING *mb_general_name_text(
    const GENERAL_NAMES *names, int index, int type) {
    const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, index);
    return name->type == type ? name->d.ia5 : NULL;
}

static inline int mb_general_names_push(GENERAL_NAMES *names, GENERAL_NAME *name) {
    return sk_GENERAL_NAME_push(names, name);
}

// Verifies `leaf` by the certificates of `chain`, of which the last is believed, for a purpose
// (X509_PURPOSE_…): X509_V_OK, or why not.
static inline int mb_verify_chain(X509 *leaf, X509 **chain, int count, int purpose) {
    int result = X509_V_ERR_OUT_OF_MEM;
    STACK_OF(X509) *others = sk_X509_new_null();
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    if (!others || !store || !context) goto done;
    for (int i = 0; i < count; i++)
        if (!sk_X509_push(others, chain[i])) goto done;
    if (!X509_STORE_add_cert(store, chain[count - 1])) goto done;
    if (!X509_STORE_CTX_init(context, store, leaf, others)) goto done;
    X509_STORE_CTX_set_purpose(context, purpose);
    result = X509_verify_cert(context) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(context);
done:
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    sk_X509_free(others);
    return result;
}
