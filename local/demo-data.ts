// What `npm run seed` creates: users, and promotions in every status with their subscribers.

export interface DemoUser {
  first_name: string;
  last_name: string;
  email: string;
  phone?: string;
}

export interface DemoPromotion {
  name: string;
  description: string | null;
  status: 'draft' | 'active' | 'ended';
  /** Days from the day of the seed; negative for the past. */
  startsInDays: number;
  endsInDays: number;
  /** Emails of users who subscribe while it is active. */
  subscribers?: readonly string[];
  /** Those of them who leave again. */
  left?: readonly string[];
}

const emailOf = (name: string): string => `${name}@demo.example`;

// The domain is reserved for examples (RFC 2606), and the numbers for fiction: nobody has them.
export const demoUsers: readonly DemoUser[] = [
  { first_name: 'Ada', last_name: 'Lovelace', email: emailOf('ada'), phone: '+442079460101' },
  { first_name: 'Grace', last_name: 'Hopper', email: emailOf('grace'), phone: '+12025550102' },
  { first_name: 'Sofja', last_name: 'Kowalewskaja', email: emailOf('sofja') },
  { first_name: 'Chien-Shiung', last_name: 'Wu', email: emailOf('wu') },
  { first_name: 'Zoë', last_name: 'Nuñez', email: emailOf('zoe'), phone: '+12025550105' },
  { first_name: 'नेहा', last_name: 'शर्मा', email: emailOf('neha') },
];

const everyone = demoUsers.map(({ email }) => email);

/** The first is active, and the first user has not joined it: with their ids 1 the examples of /docs can be executed. */
export const demoPromotions: readonly DemoPromotion[] = [
  {
    name: 'Demo: Free Shipping',
    description: null,
    status: 'active',
    startsInDays: -3,
    endsInDays: 27,
    subscribers: everyone.slice(1, 4),
  },
  {
    name: 'Demo: Spring Clearance',
    description: 'Up to 60% off. It has ended.',
    status: 'ended',
    startsInDays: -90,
    endsInDays: -60,
    subscribers: everyone.slice(0, 5),
    left: [emailOf('grace')],
  },
  {
    name: 'Demo: First Order',
    description: '10% off the first order. It has ended before its time.',
    status: 'ended',
    startsInDays: -20,
    endsInDays: 40,
    subscribers: everyone.slice(2),
  },
  {
    name: 'Demo: Summer Sale',
    description: '20% off everything',
    status: 'active',
    startsInDays: -40,
    endsInDays: 20,
    subscribers: everyone,
    left: [emailOf('zoe')],
  },
  {
    name: 'Demo: Two for One',
    description: 'Nobody has joined yet',
    status: 'active',
    startsInDays: 0,
    endsInDays: 14,
  },
  { name: 'Demo: Winter Preview', description: 'A draft', status: 'draft', startsInDays: 60, endsInDays: 90 },
  { name: 'Demo: Loyalty Week', description: null, status: 'draft', startsInDays: 30, endsInDays: 37 },
];
