//! Measurements of Herald. The library is empty until the first of them lands; what belongs here:
//! scenarios of the whole proxy side by side with its peers (full and resumed handshakes, small
//! requests on HTTP/1.1 and HTTP/2, large bodies, idle connections), each reporting processor time
//! a request, and instruction counts of the three hot pure functions: rendering a certificate,
//! rewriting a request's headers, authorising it. Correctness is `herald-tests`' business.
