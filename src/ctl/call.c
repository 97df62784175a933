/* SPDX-License-Identifier: ISC */
#include "ctl/call.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define CALL_CONNECT_MS 3000L
#define CALL_TOTAL_MS 60000L            /* a reload's check may take its time */
#define CALL_LARGEST (256u << 20)       /* bytes of an answer */
#define CALL_TRIES 20                   /* while one worker gives way to the next */
#define CALL_PAUSE_US 50000

/* The body as it comes. */
struct call_body {
        char *text;
        size_t length;
        size_t room;
};

int call_init(struct call *call, const char *socket) {
        *call = (struct call){ .socket = socket };
        if (curl_global_init(CURL_GLOBAL_NOTHING) != CURLE_OK)
                return -ENOMEM;
        call->curl = curl_easy_init();
        return call->curl ? 0 : -ENOMEM;
}

int call_impossible(const char *socket) {
        static const size_t longest = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;

        if (*socket && strlen(socket) <= longest)
                return 0;
        fprintf(stderr, "splicectl: -s: %s; allowed: a path of 1 to %zu bytes\n",
                *socket ? "the path is too long" : "the path is empty", longest);
        return 1;
}

void call_deinit(struct call *call) {
        if (call->curl)
                curl_easy_cleanup(call->curl);
        call->curl = NULL;
}

static size_t call_write(char *data, size_t size, size_t n, void *arg) {
        struct call_body *body = arg;

        n *= size;
        if (body->length + n >= CALL_LARGEST)
                return 0;
        if (body->length + n + 1 > body->room) {
                size_t room = body->room * 2 > body->length + n + 1 ? body->room * 2 : body->length + n + 4096;
                char *text = realloc(body->text, room);

                if (!text)
                        return 0;
                body->text = text;
                body->room = room;
        }
        memcpy(body->text + body->length, data, n);
        body->length += n;
        body->text[body->length] = '\0';
        return n;
}

/* What to do about a connect that failed. */
static const char *call_advice(int error) {
        switch (error) {
        case EACCES:
        case EPERM:
                return "; be root or the daemon's user, or let a group in by 'admin { mode group }' in the config";
        case ENOENT:
                return "; is it running, and is -s what 'admin { socket }' says?";
        default:
                return "; is it running, and is -s right?";
        }
}

/* One attempt.  libcurl's code, with *sent set where the request may have reached the daemon. */
static CURLcode call_try(struct call *call, const char *method, const char *url, const char *content,
                         struct call_body *body, long *status, int *sent) {
        struct curl_slist *headers = NULL;
        char error[CURL_ERROR_SIZE] = "";
        curl_off_t connected = 0;
        long number = 0;
        CURL *curl = call->curl;
        CURLcode code;

        curl_easy_reset(curl);
        headers = curl_slist_append(headers, content ? "Content-Type: application/json" : "Accept: */*");
        curl_easy_setopt(curl, CURLOPT_URL, url);
        curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, call->socket);
        curl_easy_setopt(curl, CURLOPT_PROXY, "");
        curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
        curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CALL_CONNECT_MS);
        curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, CALL_TOTAL_MS);
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, call_write);
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
        curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        if (content)
                curl_easy_setopt(curl, CURLOPT_POSTFIELDS, content);
        code = curl_easy_perform(curl);
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, status);
        curl_easy_getinfo(curl, CURLINFO_PRETRANSFER_TIME_T, &connected);
        *sent = code != CURLE_COULDNT_CONNECT && connected > 0;
        curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &number);
        if (code == CURLE_COULDNT_CONNECT && number)
                snprintf(call->why, sizeof(call->why), "%s%s", strerror((int)number), call_advice((int)number));
        else if (code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_WEIRD_SERVER_REPLY)
                snprintf(call->why, sizeof(call->why), "what answers is no HTTP; is -s right?");
        else if (code != CURLE_OK)
                snprintf(call->why, sizeof(call->why), "%s", *error ? error : curl_easy_strerror(code));
        curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
        curl_slist_free_all(headers);
        return code;
}

static int call_once(struct call *call, const char *method, const char *url, const char *content,
                     struct call_answer *answer) {
        int changes = strcmp(method, "GET") != 0;

        for (int tries = 1;; tries++) {
                struct call_body body = { 0 };
                CURLcode code;
                int sent;

                code = call_try(call, method, url, content, &body, &answer->status, &sent);
                if (code == CURLE_OK) {
                        answer->text = body.text ? body.text : calloc(1, 1);
                        answer->length = body.length;
                        return answer->text ? 0 : -ENOMEM;
                }
                free(body.text);
                if (code == CURLE_OUT_OF_MEMORY)
                        return -ENOMEM;
                if (code == CURLE_COULDNT_CONNECT || code == CURLE_UNSUPPORTED_PROTOCOL ||
                    code == CURLE_WEIRD_SERVER_REPLY)
                        return CALL_NO_DAEMON;
                if ((changes && sent) || code == CURLE_OPERATION_TIMEDOUT || tries == CALL_TRIES)
                        return CALL_BROKEN;
                usleep(CALL_PAUSE_US);
        }
}

int call_request(struct call *call, const char *method, const char *path, const json_t *body,
                 struct call_answer *answer) {
        char *content = body ? json_dumps(body, JSON_COMPACT) : NULL, *url = NULL;
        int r;

        *answer = (struct call_answer){ 0 };
        if ((body && !content) || asprintf(&url, "http://localhost%s", path) < 0) {
                free(content);
                return -ENOMEM;
        }
        r = call_once(call, method, url, content, answer);
        if (r == 0)
                answer->json = json_loadb(answer->text, answer->length, 0, NULL);
        free(content);
        free(url);
        return r;
}

void call_print(const struct call_answer *answer) {
        fwrite(answer->text, 1, answer->length, stdout);
        if (answer->length && answer->text[answer->length - 1] != '\n')
                putchar('\n');
}

int call_complain(const struct call *call, int r, const struct call_answer *answer) {
        const char *error = NULL, *detail = NULL;

        if (r < 0) {
                fprintf(stderr, "splicectl: %s\n", strerror(-r));
                return 1;
        }
        if (r == CALL_NO_DAEMON) {
                fprintf(stderr, "splicectl: no daemon answers at %s: %s\n", call->socket, call->why);
                return 2;
        }
        if (r == CALL_BROKEN) {
                fprintf(stderr, "splicectl: the daemon at %s gave no whole answer: %s\n", call->socket, call->why);
                return 1;
        }
        if (call->json)
                call_print(answer);
        if (answer->json)
                json_unpack(answer->json, "{s?s, s?s}", "error", &error, "detail", &detail);
        if (detail)
                fprintf(stderr, "splicectl: %s\n", detail);
        else
                fprintf(stderr, "splicectl: refused: %s (HTTP %ld)\n", error ? error : "no reason given",
                        answer->status);
        return 1;
}

int call_get(struct call *call, const char *path, struct call_answer *answer) {
        int r = call_request(call, "GET", path, NULL, answer);

        if (r == 0 && answer->status == 200 && json_is_object(answer->json))
                return 0;
        if (r == 0 && answer->status == 200) {
                fprintf(stderr, "splicectl: the daemon's answer to %s is no JSON object\n", path);
                r = 1;
        } else
                r = call_complain(call, r, answer);
        call_answer_free(answer);
        return r;
}

char *call_escape(struct call *call, const char *part) {
        char *escaped = curl_easy_escape(call->curl, part, 0), *copy = escaped ? strdup(escaped) : NULL;

        curl_free(escaped);
        return copy;
}

void call_answer_free(struct call_answer *answer) {
        free(answer->text);
        json_decref(answer->json);
        *answer = (struct call_answer){ 0 };
}
