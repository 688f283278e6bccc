// Requests that every service must reject, each with an email or a phone in it.
import type { Attempt } from './history.ts';

export interface BadRequest {
  method: string;
  path: string;
  body?: Attempt['body'];
  rawBody?: string;
}

interface Contact {
  email: string;
  phone: string;
  /** Id of an existing user. */
  userId: number;
}

export function badRequests({ email, phone, userId }: Contact): BadRequest[] {
  const user = { first_name: 'Bad', last_name: 'Request', email, phone };
  const [emailText, phoneText] = [encodeURIComponent(email), encodeURIComponent(phone)];
  /** A number that a double would change. */
  const rounded = `{"user_id":${userId},"promotion_id":1,"metadata":{"${email}":{"${phone}":9007199254740993}}}`;
  return [
    { method: 'POST', path: '/users', body: { ...user, email: `${email}@example.com` } },
    { method: 'POST', path: '/users', body: { ...user, phone: `${phone} or so` } },
    { method: 'POST', path: '/users', body: { ...user, unknown: email } },
    { method: 'POST', path: '/users', body: { ...user, [email]: phone } },
    { method: 'POST', path: '/users', body: user, rawBody: `{"phone":"${phone}","email":"${email}",` },
    { method: 'PATCH', path: `/users/${userId}`, body: { email: `${email}@`, phone } },
    { method: 'PATCH', path: `/users/${userId}`, body: { phone: phone.slice(1) } },
    { method: 'GET', path: `/users?email=${encodeURIComponent(`${email}@`)}` },
    { method: 'GET', path: `/users?email=${emailText}&phone=${phoneText}` },
    { method: 'GET', path: `/users?${email}=1` },
    { method: 'GET', path: `/users/${emailText}` },
    { method: 'GET', path: `/nowhere/${email}?phone=${phoneText}` },
    { method: 'POST', path: '/subscriptions', body: { user_id: email, promotion_id: phone } },
    { method: 'POST', path: '/subscriptions', rawBody: rounded },
    { method: 'GET', path: `/promotions?status=${email}` },
  ];
}
